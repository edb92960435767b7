"""People for tests."""

from itertools import count

from users.models import User

_numbers = count(1)


def make_user(**fields) -> User:
    number = next(_numbers)
    values = {"email": f"person{number}@example.com", "first_name": "Anna", "last_name": "Karenina", **fields}
    return User.objects.create(**values)

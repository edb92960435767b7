"""Reads of people. Which node answers is the router's business."""

from __future__ import annotations

from typing import Final

from django.db.models import QuerySet, Value
from django.db.models.functions import Left, Lower

from users.errors import UserNotFound
from users.models import User, normalize_email

SEARCH_LIMIT_MAX: Final = 100
_PROFILE_FIELDS: Final = ("id", "first_name", "last_name", "birth_date", "gender", "city", "biography")


def get_profile(*, user_id: int) -> User:
    """The active person with this id.

    Raises:
        UserNotFound: There is none.
    """
    try:
        return User.objects.only("email", *_PROFILE_FIELDS).get(pk=user_id, is_active=True)
    except User.DoesNotExist as error:
        raise UserNotFound(f"There is no user {user_id}.") from error


def find_credentials(*, email: str) -> User | None:
    """What a login needs of the active person with this e-mail, in one query; or None."""
    return User.objects.only("id", "password", "is_active").filter(email=normalize_email(email), is_active=True).first()


def matching_names(people: QuerySet[User], *, first_name: str = "", last_name: str = "") -> QuerySet[User]:
    """Narrow to the people whose names begin with these, in any letter case. Empty means any.

    `%` and `_` stand for themselves. The initial is compared as well as the whole prefix, which is
    what lets PostgreSQL walk an index in the order of the ids; see the indexes of `User`.
    """
    for column, prefix in (("first_name", first_name), ("last_name", last_name)):
        if prefix:
            wanted = Lower(Value(prefix))
            initial, name = f"_{column}_initial", f"_{column}_lower"
            people = people.alias(**{initial: Left(Lower(column), 1), name: Lower(column)}).filter(
                **{initial: Left(wanted, 1), f"{name}__startswith": wanted}
            )
    return people


def search_users(*, first_name: str = "", last_name: str = "", after_id: int = 0, limit: int = 20) -> list[User]:
    """Active people whose names begin so, by id, from the first after `after_id`; at most `limit`."""
    people = matching_names(User.objects.filter(is_active=True), first_name=first_name, last_name=last_name)
    return list(people.only(*_PROFILE_FIELDS).filter(pk__gt=after_id).order_by("pk")[:limit])

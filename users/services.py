"""Writes of people. Each says what it did or raises; the database's constraints decide."""

from __future__ import annotations

from datetime import date
from typing import TypedDict

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from users.errors import EmailTaken
from users.models import User, normalize_email
from users.selectors import get_profile


class Profile(TypedDict, total=False):
    """What a person may say of themselves."""

    first_name: str
    last_name: str
    birth_date: date | None
    gender: str
    city: str
    biography: str


def register_user(*, email: str, password: str, profile: Profile) -> User:
    """Create an active person. The password is hashed before the transaction begins.

    Raises:
        EmailTaken: By the database's constraint, so also when two register at once.
    """
    user = User(email=normalize_email(email), password=make_password(password), **profile)
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        if "users_email_unique" in str(error):
            raise EmailTaken("This e-mail is already registered.") from error
        raise
    return user


def update_profile(*, user_id: int, changes: Profile) -> User:
    """Change what `changes` names and nothing else; writes nothing when it is empty.

    Raises:
        UserNotFound: There is no such active person.
    """
    user = get_profile(user_id=user_id)
    for name, value in changes.items():
        setattr(user, name, value)
    if changes:
        user.save(update_fields=list(changes))
    return user

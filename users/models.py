"""The people of the network. Nothing here names a database node."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar, Final

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.indexes import OpClass
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Left, Lower
from django.utils import timezone

NAME_MAX_LENGTH: Final = 100
CITY_MAX_LENGTH: Final = 100
BIOGRAPHY_MAX_LENGTH: Final = 2000
EMAIL_MAX_LENGTH: Final = 254
"""RFC 5321 §4.5.3.1.3 limits a path to 256 octets, two of which are its angle brackets."""
OLDEST_BIRTH_DATE: Final = date(1900, 1, 1)


def normalize_email(email: str) -> str:
    """The form in which an e-mail is stored and compared: without surrounding space, lower case."""
    return email.strip().lower()


class UserManager(BaseUserManager["User"]):
    """Creates users. `createsuperuser` calls this."""

    def get_by_natural_key(self, username: str | None) -> User:
        """The user with this e-mail, in any letter case: how the admin's login finds them."""
        return self.get(email=normalize_email(username or ""))

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """An administrator, active at once."""
        user = self.model(email=normalize_email(email), is_staff=True, is_superuser=True, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user


class Gender(models.TextChoices):
    """As a person gives it."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"


class User(AbstractBaseUser, PermissionsMixin):
    """A person: the login and the profile."""

    # Login is a pure read: there is no time of the last one to write.
    last_login = None

    email = models.EmailField(max_length=EMAIL_MAX_LENGTH)
    first_name = models.CharField(max_length=NAME_MAX_LENGTH)
    last_name = models.CharField(max_length=NAME_MAX_LENGTH)
    birth_date = models.DateField(null=True, blank=True)
    gender = models.CharField(max_length=10, choices=Gender.choices, blank=True)
    city = models.CharField(max_length=CITY_MAX_LENGTH, blank=True)
    biography = models.TextField(max_length=BIOGRAPHY_MAX_LENGTH, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    joined_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["first_name", "last_name"]

    objects = UserManager()

    class Meta:
        """Table, constraints and the indexes of search; see `users.selectors.search_users`."""

        db_table = "users"
        constraints = [  # noqa: RUF012 - Django's declaration
            models.UniqueConstraint(fields=["email"], name="users_email_unique"),
            models.CheckConstraint(condition=Q(email=Lower(F("email"))), name="users_email_lower_case"),
        ]
        # The initials come first because equality on them keeps the order by id inside the index: the
        # first page of any prefix is read without sorting. The names behind the id filter longer
        # prefixes inside the index, before a row is fetched.
        indexes = [  # noqa: RUF012 - Django's declaration
            models.Index(
                Left(Lower("first_name"), 1),
                Left(Lower("last_name"), 1),
                "id",
                OpClass(Lower("first_name"), name="text_pattern_ops"),
                OpClass(Lower("last_name"), name="text_pattern_ops"),
                name="users_search_both",
            ),
            models.Index(
                Left(Lower("first_name"), 1),
                "id",
                OpClass(Lower("first_name"), name="text_pattern_ops"),
                name="users_search_first_name",
            ),
            models.Index(
                Left(Lower("last_name"), 1),
                "id",
                OpClass(Lower("last_name"), name="text_pattern_ops"),
                name="users_search_last_name",
            ),
        ]

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Bring the e-mail into its one form, before uniqueness is checked."""
        super().clean()
        self.email = normalize_email(self.email)

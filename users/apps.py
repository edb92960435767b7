"""The Django app `users`."""

from django.apps import AppConfig
from django.contrib.postgres.indexes import OpClass
from django.db.models import OrderBy
from django.db.models.functions import Collate
from django.db.models.indexes import IndexExpression


class UsersConfig(AppConfig):
    """People, their profiles, and search by name."""

    name = "users"

    def ready(self) -> None:
        """Let indexes name operator classes.

        All that is wanted of `django.contrib.postgres`; the app itself would also run two queries on every
        new connection, for types that are not used here.
        """
        IndexExpression.register_wrappers(OrderBy, OpClass, Collate)

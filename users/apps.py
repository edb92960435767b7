"""The Django app `users`."""

from django.apps import AppConfig


class UsersConfig(AppConfig):
    """People, their profiles, and search by name."""

    name = "users"

"""The Django app `auth_api`."""

from django.apps import AppConfig


class AuthApiConfig(AppConfig):
    """Registration and login."""

    name = "auth_api"

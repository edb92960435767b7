"""The Django app `management`."""

from django.apps import AppConfig


class ManagementConfig(AppConfig):
    """The control path and its commands."""

    name = "management"

"""JSON of registration and login."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers

from users.api.serializers import ProfileFields, StrictSerializer
from users.models import EMAIL_MAX_LENGTH, normalize_email

PASSWORD_MAX_LENGTH: Final = 128


class EmailField(serializers.EmailField):
    """An e-mail in the form in which it is stored."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=EMAIL_MAX_LENGTH, **options)

    def to_internal_value(self, data: Any) -> str:
        """Without surrounding space, lower case."""
        return normalize_email(super().to_internal_value(data))


class PasswordField(serializers.CharField):
    """A password, taken as it is: spaces are part of it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=PASSWORD_MAX_LENGTH,
            trim_whitespace=False,
            write_only=True,
            style={"input_type": "password"},
            **options,
        )


class Registration(ProfileFields):
    """A new person."""

    email = EmailField()
    password = PasswordField()

    def validate_password(self, value: str) -> str:
        """By the validators of AUTH_PASSWORD_VALIDATORS."""
        try:
            validate_password(value)
        except DjangoValidationError as error:
            raise serializers.ValidationError(list(error.messages)) from error
        return value


class Registered(serializers.Serializer[Any]):
    """What registration answers."""

    userId = serializers.IntegerField()


class Login(StrictSerializer):
    """E-mail and password."""

    email = EmailField()
    password = PasswordField()


class AccessTokenOut(serializers.Serializer[Any]):
    """What login answers."""

    accessToken = serializers.CharField(help_text="Send as `Authorization: Bearer …`.")
    tokenType = serializers.CharField()
    expiresAt = serializers.DateTimeField()

"""JSON in and out: camelCase names, lengths, characters. Unknown fields are refused by name."""

from __future__ import annotations

import datetime
import unicodedata
from collections.abc import Callable
from typing import Any, Final, cast

from django.utils import timezone
from rest_framework import serializers

from users.models import BIOGRAPHY_MAX_LENGTH, CITY_MAX_LENGTH, NAME_MAX_LENGTH, OLDEST_BIRTH_DATE, Gender, User
from users.selectors import SEARCH_LIMIT_MAX

BIGINT_MAX: Final = 2**63 - 1


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses fields it does not know: a misspelt name is an error, not silence."""

    def to_internal_value(self, data: Any) -> Any:
        """Validated data, or an error for each unknown field and each wrong one."""
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, dict) else []
        errors: dict[str, Any] = {name: ["Unknown field."] for name in unknown}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            if not unknown:
                raise
            raise serializers.ValidationError({**cast(dict[str, Any], error.detail), **errors}) from error
        if errors:
            raise serializers.ValidationError(errors)
        return value


class TextField(serializers.CharField):
    """Text in one Unicode form (NFC), so that equal-looking names are equal; without invisible controls."""

    # Joiners belong to names of some scripts and to emoji.
    _allowed_controls = frozenset("\u200c\u200d")

    def to_internal_value(self, data: Any) -> str:
        """The text, trimmed and composed."""
        text = unicodedata.normalize("NFC", super().to_internal_value(data))
        for character in text:
            if unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in self._allowed_controls:
                raise serializers.ValidationError(f"The character U+{ord(character):04X} is not allowed.")
        return text


class ParagraphField(TextField):
    """Text that may have lines."""

    _allowed_controls = TextField._allowed_controls | frozenset("\n\r\t")


def _validate_birth_date(value: datetime.date) -> None:
    if value > timezone.localdate():
        raise serializers.ValidationError("The birth date is in the future.")
    if value < OLDEST_BIRTH_DATE:
        raise serializers.ValidationError(f"The birth date is before {OLDEST_BIRTH_DATE}.")


_BIRTH_DATE_VALIDATORS: Final[list[Callable[[Any], None]]] = [_validate_birth_date]


class ProfileFields(StrictSerializer):
    """What a person says of themselves, as input."""

    firstName = TextField(source="first_name", max_length=NAME_MAX_LENGTH)
    lastName = TextField(source="last_name", max_length=NAME_MAX_LENGTH)
    birthDate = serializers.DateField(
        source="birth_date", required=False, allow_null=True, validators=_BIRTH_DATE_VALIDATORS
    )
    gender = serializers.ChoiceField(choices=Gender.choices, required=False, allow_blank=True)
    city = TextField(max_length=CITY_MAX_LENGTH, required=False, allow_blank=True)
    biography = ParagraphField(max_length=BIOGRAPHY_MAX_LENGTH, required=False, allow_blank=True)


class ProfileOut(serializers.ModelSerializer[User]):
    """A profile as anybody may see it: no e-mail, no password."""

    userId = serializers.IntegerField(source="id")
    firstName = serializers.CharField(source="first_name")
    lastName = serializers.CharField(source="last_name")
    birthDate = serializers.DateField(source="birth_date", allow_null=True)

    class Meta:
        """Fields in the order in which they are shown."""

        model = User
        fields = ("userId", "firstName", "lastName", "birthDate", "gender", "city", "biography")


class OwnProfileOut(ProfileOut):
    """A profile as its owner sees it."""

    class Meta(ProfileOut.Meta):
        """With the e-mail."""

        fields = (*ProfileOut.Meta.fields[:1], "email", *ProfileOut.Meta.fields[1:])  # type: ignore[assignment]


class SearchQuery(StrictSerializer):
    """The query string of a search."""

    firstName = TextField(required=False, allow_blank=True, default="", max_length=NAME_MAX_LENGTH)
    lastName = TextField(required=False, allow_blank=True, default="", max_length=NAME_MAX_LENGTH)
    limit = serializers.IntegerField(required=False, default=20, min_value=1, max_value=SEARCH_LIMIT_MAX)
    cursor = serializers.IntegerField(required=False, default=0, min_value=0, max_value=BIGINT_MAX)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A search for everybody is not a search."""
        if not attrs["firstName"] and not attrs["lastName"]:
            raise serializers.ValidationError("Give firstName, lastName or both.")
        return attrs


class SearchPage(serializers.Serializer[Any]):
    """A page of people, by id."""

    users = ProfileOut(many=True)
    nextCursor = serializers.CharField(
        allow_null=True, help_text="Pass as `cursor` for the next page; null at the end."
    )


class ProblemOut(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), required=False)  # type: ignore[assignment]

"""JSON bodies of bounded size. DRF reads the stream itself, past Django's own limit."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser


class BodyTooLarge(APIException):
    """RFC 9110 §15.5.14, 413 Content Too Large."""

    status_code = 413
    default_code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"The body is larger than {limit_bytes} bytes.")


class BoundedJSONParser(JSONParser):
    """Reads at most `settings.MAX_BODY_BYTES`, whatever the request announces."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The JSON value.

        Raises:
            BodyTooLarge: More bytes than the limit.
            ParseError: Not JSON in UTF-8, or nested too deep to read.
        """
        body = stream.read(settings.MAX_BODY_BYTES + 1)
        if len(body) > settings.MAX_BODY_BYTES:
            raise BodyTooLarge(settings.MAX_BODY_BYTES)
        try:
            return super().parse(io.BytesIO(body), media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deep") from error

"""JSON bodies. Their size is bounded by Django (DATA_UPLOAD_MAX_MEMORY_SIZE), their nesting here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class NestingSafeJSONParser(JSONParser):
    """DRF's parser, for which a thousand brackets are a bad request and not a server error."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The JSON value.

        Raises:
            ParseError: Not JSON in UTF-8, or nested too deep to read.
        """
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deep") from error

"""JSON bodies. Their size is bounded by Django (DATA_UPLOAD_MAX_MEMORY_SIZE), their nesting here."""

from __future__ import annotations

import json
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
            ParseError: Not JSON in UTF-8, nested too deep to read, or with half a surrogate pair, which
                no answer and no database could hold.
        """
        try:
            value = super().parse(stream, media_type, parser_context)
            json.dumps(value, ensure_ascii=False).encode()
        except RecursionError as error:
            raise ParseError("JSON parse error - nested too deep") from error
        except UnicodeEncodeError as error:
            raise ParseError("JSON parse error - half a surrogate pair is no text") from error
        return value

"""One HTTP request at a time, with the consistency token carried from answer to request. Never retries."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from management.errors import Refused
from routers.conf import RoutingSettings
from routers.headers import STATUS_HEADER, TOKEN_HEADER

COOKIES: Final = (RoutingSettings().token_cookie, RoutingSettings().seen_cookie)


class Carrier(StrEnum):
    """How a client brings the token back."""

    HEADER = "header"
    COOKIE = "cookie"
    NOTHING = "nothing"
    """The control: it does not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, or why nothing did."""

    invoked_at: float
    """Monotonic seconds, as is `completed_at`."""
    completed_at: float
    status: int | None
    """None without a complete answer."""
    body: Mapping[str, Any]
    """Empty if it is not a JSON object."""
    token: str | None = None
    is_flagged: bool = False
    node: str | None = None
    was_sent: bool = True
    """False if there was no connection to send the request on."""
    error: str = ""

    @property
    def detail(self) -> str:
        """Why it is not a success, in the server's words or the network's; empty for a success."""
        return self.error or str(self.body.get("detail", ""))


class Client:
    """A browser or a program, as far as the server can tell. Used by one thread."""

    def __init__(self, url: str, *, carrier: Carrier, timeout_seconds: float) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise Refused(f"{url!r} is not http://HOST:PORT")
        self._host, self._port, self._prefix = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self._carrier = carrier
        self._timeout_seconds = timeout_seconds
        self._token: str | None = None
        self._cookies: dict[str, str] = {}

    def request(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, access: str | None = None
    ) -> Answer:
        """Send it and wait, at most the timeout for each silence of the server. Never raises for the network.

        Args:
            method: Of HTTP.
            path: From the application's root, with the query.
            body: Sent as JSON; None to send nothing.
            access: The bearer's token; None to go without.
        """
        # A new connection each time: one kept open may be closed by the server just as it is used again,
        # and that would look like a failure of the system under test.
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_seconds)
        invoked_at, was_sent = time.monotonic(), False
        with contextlib.closing(connection):
            try:
                connection.connect()
                was_sent = True
                connection.request(method, self._prefix + path, *self._message(body, access))
                response = connection.getresponse()
                return self._answer(invoked_at, response, response.read())
            except (OSError, http.client.HTTPException) as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
                return Answer(invoked_at, time.monotonic(), None, {}, was_sent=was_sent, error=reason)

    def _message(self, body: Mapping[str, Any] | None, access: str | None) -> tuple[bytes | None, dict[str, str]]:
        headers = {"Connection": "close"}
        if access is not None:
            headers["Authorization"] = f"Bearer {access}"
        if self._token is not None and self._carrier is Carrier.HEADER:
            headers[TOKEN_HEADER] = self._token
        if self._cookies and self._carrier is Carrier.COOKIE:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if body is None:
            return None, headers
        return json.dumps(body).encode(), {**headers, "Content-Type": "application/json"}

    def _answer(self, invoked_at: float, response: http.client.HTTPResponse, content: bytes) -> Answer:
        completed_at = time.monotonic()
        token, cookies = response.headers.get(TOKEN_HEADER), cookies_in(response.headers.get_all("Set-Cookie", []))
        self._token = token or self._token
        # An empty one is to be deleted.
        self._cookies = {name: value for name, value in (self._cookies | cookies).items() if value}
        return Answer(
            invoked_at,
            completed_at,
            response.status,
            _json_object(content),
            token=token,
            is_flagged=STATUS_HEADER in response.headers,
            node=node_in(response.headers.get("Server-Timing", "")),
        )


def cookies_in(lines: list[str]) -> dict[str, str]:
    """The tokens among Set-Cookie headers, by the cookie's name; empty for one to be deleted.

    >>> cookies_in(["a=b; Path=/", "consistency_token=66f-1-30-.k; Path=/", 'consistency_token_seen=""; Max-Age=0'])
    {'consistency_token': '66f-1-30-.k', 'consistency_token_seen': ''}
    """
    values = (line.partition(";")[0].strip().partition("=") for line in lines)
    return {name: value.strip('"') for name, _, value in values if name in COOKIES}


def node_in(server_timing: str) -> str | None:
    """The node of a Server-Timing header, or None.

    >>> node_in('db;desc="pg2 same_node"')
    'pg2'
    """
    description = server_timing.partition('db;desc="')[2].partition('"')[0]
    return description.split(" ")[0] or None


def _json_object(content: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

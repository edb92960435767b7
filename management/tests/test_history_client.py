import http.server
import socket
import threading
from contextlib import closing
from http import HTTPStatus

import pytest

from management.errors import Refused
from management.history.client import Carrier, Client

TOKENS = iter(f"66f2a-{number}-30-.sig" for number in range(1, 1000))


class Recorder(http.server.ThreadingHTTPServer):
    """Keeps the headers of each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[dict[str, str]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives another token with every answer."""

    server: Recorder

    def do_GET(self):
        self.server.seen.append(dict(self.headers))
        token = next(TOKENS)
        self.send_response(HTTPStatus.OK)
        self.send_header("Consistency-Token", token)
        self.send_header("Set-Cookie", "other=1; Path=/")
        self.send_header("Set-Cookie", f"consistency_token={token}; HttpOnly; Path=/")
        if self.path == "/stale":
            self.send_header("Consistency-Status", "stale")
        self.send_header("Server-Timing", 'db;desc="pg2 caught_up"')
        self.end_headers()
        self.wfile.write(b'{"city": "v000001"}' if self.path != "/page" else b"<html>")

    def log_message(self, *_):
        """Tests read results."""


@pytest.fixture
def server():
    with Recorder() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def client_of(port: int, carrier: Carrier = Carrier.HEADER) -> Client:
    return Client(f"http://127.0.0.1:{port}", carrier=carrier, timeout_seconds=0.3)


class TestCarriesTheToken:
    def carried(self, server: Recorder, carrier: Carrier):
        """The token of the second answer; header and cookie of the request after it."""
        client = client_of(server.server_port, carrier)
        client.request("GET", "/")
        newest = client.request("GET", "/").token
        client.request("GET", "/")
        first, _, third = server.seen
        assert not {"Consistency-Token", "Cookie"} & set(first)
        return newest, third.get("Consistency-Token"), third.get("Cookie")

    def test_in_the_header(self, server):
        newest, header, cookie = self.carried(server, Carrier.HEADER)
        assert (header, cookie) == (newest, None)

    def test_in_the_cookie(self, server):
        newest, header, cookie = self.carried(server, Carrier.COOKIE)
        assert (header, cookie) == (None, f"consistency_token={newest}")

    def test_not_at_all(self, server):
        newest, header, cookie = self.carried(server, Carrier.NOTHING)
        assert (newest is not None, header, cookie) == (True, None, None)


class TestAnswer:
    def test_says_what_the_server_said(self, server):
        answer = client_of(server.server_port).request("GET", "/stale")
        assert (answer.status, answer.body, answer.is_flagged, answer.node) == (200, {"city": "v000001"}, True, "pg2")
        assert answer.invoked_at < answer.completed_at

    def test_is_not_flagged_by_itself(self, server):
        assert not client_of(server.server_port).request("GET", "/").is_flagged

    def test_a_page_is_not_an_object(self, server):
        assert client_of(server.server_port).request("GET", "/page").body == {}

    def test_without_a_listener_nothing_was_sent(self):
        with closing(socket.socket()) as unused:
            unused.bind(("127.0.0.1", 0))
            answer = client_of(unused.getsockname()[1]).request("PATCH", "/", body={})
        assert (answer.status, answer.was_sent) == (None, False)
        assert "refused" in answer.detail

    def test_a_silent_server_may_have_heard(self):
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            answer = client_of(silent.getsockname()[1]).request("PATCH", "/", body={})
        assert (answer.status, answer.was_sent, answer.detail) == (None, True, "TimeoutError: timed out")

    def test_only_http(self):
        with pytest.raises(Refused, match="not http://"):
            Client("https://127.0.0.1", carrier=Carrier.HEADER, timeout_seconds=1)

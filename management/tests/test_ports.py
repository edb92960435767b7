import os
import socket

import pytest

from management.errors import Refused
from management.ports import require_free_port


class TestRequireFreePort:
    def test_names_the_port_the_option_and_the_holder(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with pytest.raises(Refused, match=rf"Port {port} for HTTP .* \(pid {os.getpid()}\)\. .* --http-port"):
                require_free_port(port, purpose="HTTP", option="--http-port")

    def test_is_content_with_a_free_one(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        require_free_port(port, purpose="HTTP", option="--http-port")

    @pytest.mark.parametrize("port", [0, -1, 65536])
    def test_refuses_what_is_no_port(self, port):
        with pytest.raises(Refused, match="between 1 and 65535"):
            require_free_port(port, purpose="HTTP", option="--http-port")

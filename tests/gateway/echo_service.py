"""A service behind an edge, which answers with the request as it came."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EchoService(ThreadingHTTPServer):
    """Speaks HTTP/1.1, keeps connections open, and echoes lines after an upgrade."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.asked: list[str] = []  # "method path" of each request


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EchoService

    def handle_one_request(self) -> None:
        # The edge may end the connection in any state, as a test ends.
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def _echo(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.headers.get("Upgrade"):
            self._upgrade()
            return
        seen = {
            "method": self.command,
            "path": self.path,
            "headers": self.headers.items(),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        answer = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _echo  # noqa: N815 - as the base class wants them

    def _upgrade(self) -> None:
        """101; then the user's id, and every line as it came."""
        self.send_response(101)
        self.send_header("Upgrade", self.headers["Upgrade"])
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.wfile.write(self.headers.get("X-Wxauth-Account-Id", "nobody").encode() + b"\n")
        while line := self.rfile.readline():
            self.wfile.write(line)
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def echo_service() -> Iterator[EchoService]:
    """Serve until the block ends."""
    with EchoService() as service:
        serving = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield service
        finally:
            service.shutdown()
            serving.join()

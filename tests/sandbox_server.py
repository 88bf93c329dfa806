"""A running wechat_sandbox on a free port of the loopback, for any test that needs WeChat."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests

from wechat_sandbox.app import SandboxApp, create_app
from wechat_sandbox.server import build_server


@dataclass(frozen=True)
class RunningSandbox:
    """`base_url` ends without a slash. Methods raise if the sandbox refuses."""

    base_url: str

    def mint(self, app_id: str, user: str) -> str:
        """The code that wx.login would give this user now."""
        code = self._post("/_control/codes", {"appid": app_id, "user": user})["code"]
        assert isinstance(code, str)
        return code

    def exchanges(self) -> list[dict[str, Any]]:
        """What code2Session was asked so far, oldest first."""
        answer = requests.get(self.base_url + "/_control/exchanges", timeout=10)
        answer.raise_for_status()
        history: list[dict[str, Any]] = answer.json()
        return history

    def slow(self, ms: int) -> None:
        """Hold every later answer of code2Session back by this many milliseconds."""
        self._post("/_control/slow", {"ms": ms})

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(self.base_url + path, json=body, timeout=10)
        answer.raise_for_status()
        fields: dict[str, Any] = answer.json()
        return fields


@contextmanager
def running_sandbox(
    apps: Sequence[SandboxApp], *, clock: Callable[[], float] = time.time, slow_ms: int = 0
) -> Iterator[RunningSandbox]:
    """Serve `apps` in a thread of this process until the block ends."""
    server = build_server(create_app(apps, clock=clock, slow_ms=slow_ms))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # It listens already: whoever connects before the server is up waits in the backlog.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield RunningSandbox(f"http://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join(timeout=10)
            assert not thread.is_alive(), "the sandbox did not stop"

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

from wechat_sandbox import Mischief, SandboxApp, create_app
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

    def phone_code(self, app_id: str, user: str, **phone: str) -> str:
        """The code that the phone button would give. `phone` and `countryCode` are digits."""
        asked = {"appid": app_id, "user": user} | phone
        code = self._post("/_control/phone-codes", asked)["code"]
        assert isinstance(code, str)
        return code

    def user_data(self, app_id: str, user: str, **changes: Any) -> dict[str, str]:
        """encryptedData, iv, rawData and signature as the phone would get them now.

        `changes`: kind ("profile", "phone"), data, phone, countryCode, watermark.
        """
        asked = {"appid": app_id, "user": user} | changes
        handed_out: dict[str, str] = self._post("/_control/user-data", asked)
        return handed_out

    def expire_session_key(self, app_id: str, user: str) -> bool:
        """End the user's session_key; whether there was a live one."""
        asked = {"appid": app_id, "user": user}
        return bool(self._post("/_control/session-keys/expire", asked)["expired"])

    def expire_access_tokens(self, app_id: str, left_s: int = 0) -> int:
        """Leave the app's tokens no more than `left_s` seconds; how many had more."""
        asked = {"appid": app_id, "left_s": left_s}
        return int(self._post("/_control/access-tokens/expire", asked)["tokens"])

    def revoke_access_tokens(self, app_id: str) -> int:
        """Void the app's tokens before their time; how many were good."""
        return int(self._post("/_control/access-tokens/revoke", {"appid": app_id})["tokens"])

    def move_to_platform(self, app_id: str, platform: str | None) -> None:
        """Put an app into an Open Platform account (its users get a unionid), or into none."""
        self._post("/_control/platforms", {"appid": app_id, "platform": platform})

    def block(self, user: str, *, blocked: bool = True) -> None:
        """Make code2Session refuse this person with 40226, or no longer."""
        self._post("/_control/blocked", {"user": user, "blocked": blocked})

    def calls(self, **chosen: str) -> list[dict[str, Any]]:
        """Every call so far, oldest first; `path`, `appid` and `user` choose."""
        return self._get("/_control/calls", chosen)

    def exchanges(self) -> list[dict[str, Any]]:
        """What code2Session was asked so far, oldest first."""
        return self._get("/_control/exchanges")

    def set_mischief(self, **knobs: float) -> dict[str, Any]:
        """Turn all knobs, those not named to their default; the sequence begins again.

        Returns the knobs, with the seed in use.
        """
        return self._post("/_control/mischief", knobs)

    def next_calls(self, path: str, *, times: int = 1, **what: Any) -> None:
        """Do `fault` to, or answer `errcode` to, the next calls of this path."""
        self._post("/_control/next", {"path": path, "times": times} | what)

    def slow(self, ms: int) -> None:
        """Hold every later answer back by this many milliseconds."""
        self._post("/_control/slow", {"ms": ms})

    def _get(self, path: str, query: dict[str, str] | None = None) -> list[dict[str, Any]]:
        answer = requests.get(self.base_url + path, params=query, timeout=10)
        answer.raise_for_status()
        listed: list[dict[str, Any]] = answer.json()
        return listed

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = requests.post(self.base_url + path, json=body, timeout=10)
        answer.raise_for_status()
        fields: dict[str, Any] = answer.json()
        return fields


@contextmanager
def running_sandbox(
    apps: Sequence[SandboxApp],
    *,
    clock: Callable[[], float] = time.time,
    mischief: Mischief | None = None,
) -> Iterator[RunningSandbox]:
    """Serve `apps` in a thread of this process until the block ends."""
    server = build_server(create_app(apps, clock=clock, mischief=mischief))
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

"""A company's account service that says what a test tells it to, and the source that asks it."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import pytest

from tests.canary import CANARY
from tests.scripted_wechat import Conversation, Server, serving
from wxauth_server.accounts.sources.http_source import HttpSource
from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.clock import Clock
from wxauth_server.deadline import Deadline
from wxauth_server.errors import AccountSourceUnavailable, AuthError

NAME = "members"
KEY = CANARY.keep("KEY-of-the-members-source-0123456789")
USERNAME = CANARY.keep("USERNAME-do-not-print")
PASSWORD = CANARY.keep("PASSWORD-do-not-print")
DISPLAY_NAME = CANARY.keep("DISPLAY-NAME-do-not-print")
ID = "10001"

YES = (
    f'{{"account":{{"id":"{ID}","username":"zhangsan","display_name":"{DISPLAY_NAME}",'
    '"disabled":false}}'
).encode()
NO = b'{"account":null}'
ACCOUNT = SourceAccount(id=ID, username="zhangsan", display_name=DISPLAY_NAME)

_Result = TypeVar("_Result")


# --- Conversations -------------------------------------------------------------


def request_from(connection: socket.socket) -> bytes:
    """The next request, head and body; b"" when the client has closed."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (more := connection.recv(4096)):
            return b""
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)^content-length: (\d+)", head, re.MULTILINE)
    assert length is not None
    while len(body) < int(length[1]):
        body += connection.recv(4096)
    return head + b"\r\n\r\n" + body


def saying(answer: bytes) -> Conversation:
    """One request gets these bytes, and then the connection ends."""

    def converse(connection: socket.socket) -> None:
        request_from(connection)
        connection.sendall(answer)

    return converse


def silent(connection: socket.socket) -> None:
    """Says nothing as long as the client waits."""
    while connection.recv(4096):
        pass


# --- The service and its source --------------------------------------------------


def settings_of(url: str, **changed: Any) -> HttpSourceSettings:
    fields = {"kind": "http", "name": NAME, "url": url, "key": KEY, **changed}
    return HttpSourceSettings.model_validate(fields)


class Business:
    """A service with one conversation, and a source with these settings."""

    def __init__(
        self,
        server: Server,
        settings: HttpSourceSettings,
        clock: Clock | None,
        monotonic: Callable[[], float],
    ) -> None:
        self.server = server
        self.source = HttpSource.open(settings, clock=clock, monotonic=monotonic)

    def run(self, ask: Callable[[HttpSource], Awaitable[_Result]]) -> _Result:
        async def asking() -> _Result:
            return await ask(self.source)

        return asyncio.run(asking())

    def verify(self, deadline_s: float = 5.0) -> SourceAccount:
        verified = self.run(lambda source: source.verify(USERNAME, PASSWORD, Deadline(deadline_s)))
        return verified.account

    def get(self) -> SourceAccount | None:
        return self.run(lambda source: source.get(ID, Deadline(5)))

    def tell_deleted(self) -> None:
        self.run(lambda source: source.tell_deleted(ID, Deadline(5)))


@contextmanager
def business(
    conversation: Conversation,
    *,
    clock: Clock | None = None,
    monotonic: Callable[[], float] = time.monotonic,
    scheme: str = "http",
    path: str = "",
    **settings: Any,
) -> Iterator[Business]:
    """The service runs and the source is open. `url` is where to ask in its place."""
    with serving(conversation) as server:
        url = server.base_url.replace("http", scheme) + path
        asked = Business(server, settings_of(**{"url": url, **settings}), clock, monotonic)
        try:
            yield asked
        finally:
            asked.run(lambda source: source.close())


# --- What is left behind -----------------------------------------------------------


def refusal_of(ask: Callable[[], object]) -> AuthError:
    """The error that `ask` raises, with nothing of the request hanging on to it."""
    with pytest.raises(AuthError) as caught:
        ask()
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    CANARY.hear("error", repr((error, error.args, vars(error))))
    return error


def unavailable(ask: Callable[[], object]) -> AccountSourceUnavailable:
    """The same, of a source that has no yes and no no."""
    error = refusal_of(ask)
    assert isinstance(error, AccountSourceUnavailable)
    return error


class Alarm(NamedTuple):
    """What the log says of a failure."""

    level: str
    call: str
    kind: str
    detail: str


def alarms(caplog: pytest.LogCaptureFixture) -> list[Alarm]:
    """In their order. Every one names the source."""
    found = [record for record in caplog.records if record.name == "wxauth.accounts"]
    assert {vars(record)["source"] for record in found} <= {NAME}
    assert {record.getMessage() for record in found} <= {"account source failed"}
    return [
        Alarm(record.levelname, *(str(vars(record)[key]) for key in ("call", "kind", "detail")))
        for record in found
    ]

"""What the tests of exchanged certificates watch: the client's log, and whom a server sees."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from tests.certificates import Authority, Issued
from tests.scripted_server import ScriptedServer, scripted_server

TAKEN_OVER = "calls go to a connection with the new certificates"


class Said(logging.Handler):
    """What the client logs; a test can wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        with self._changed:
            self.texts.append(f"{record.levelname} {record.getMessage()}")
            self._changed.notify_all()

    @property
    def taken_over(self) -> int:
        """How often a new connection took over."""
        return self.count(TAKEN_OVER)

    def count(self, text: str) -> int:
        return sum(text in said for said in self.texts)

    def wait_for(self, text: str, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.count(text) == times, 20), self.texts


@contextmanager
def listening() -> Iterator[Said]:
    """What is logged until the block ends."""
    logger = logging.getLogger("wxauth")
    said, level = Said(), logger.level
    logger.addHandler(said)
    logger.setLevel(logging.INFO)
    try:
        yield said
    finally:
        logger.setLevel(level)
        logger.removeHandler(said)


class Peers:
    """A scripted server that asks for certificates, the client's files, and who has called."""

    def __init__(self, directory: Path, server: ScriptedServer, authority: Authority) -> None:
        self.directory = directory
        self.server = server
        self.authority = authority
        self.own = self.show("first.internal")
        self.seen: list[str] = []
        answer = server.answers["ValidateSession"]

        def seeing(request: Any, context: grpc.ServicerContext) -> Any:
            if request.session_id:
                self.seen += names_of(context)
            return answer(request, context)

        server.answers["ValidateSession"] = seeing

    def show(self, name: str, **rest: Any) -> Issued:
        """Another certificate in the client's files."""
        return self.authority.issue(name, file="own", **rest)

    def show_rogue(self) -> None:
        rogue = Authority(self.directory, "rogue").issue("second.internal")
        rogue.key.replace(self.own.key)
        rogue.certificate.replace(self.own.certificate)

    def show_another_key(self) -> None:
        self.authority.issue("another").key.replace(self.own.key)


def names_of(context: grpc.ServicerContext) -> list[str]:
    # Typed as one bytes; it is a list of them.
    names: Any = context.auth_context()["x509_subject_alternative_name"]
    return [name.decode() for name in names]


@contextmanager
def scripted_peers(directory: Path) -> Iterator[Peers]:
    """Serve until the block ends."""
    authority = Authority(directory)
    served = authority.issue("server", "127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(served.key.read_bytes(), served.certificate.read_bytes())],
        root_certificates=authority.ca.read_bytes(),
        require_client_auth=True,
    )
    with scripted_server(credentials=credentials) as server:
        yield Peers(directory, server, authority)

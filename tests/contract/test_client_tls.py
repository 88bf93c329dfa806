"""A client and a server that do not trust each other: no call, and words that say why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import grpc
import pytest

from tests.certificates import Authority, Issued
from tests.contract.client_twins import KINDS, asker
from tests.contract.secured_clients import Where, caller, caller_token, secured_server, shown
from tests.keys_of_certificates import DEAD_KEYS
from tests.running_server import running_server
from tests.sandbox_server import RunningSandbox
from wxauth_client import Credentials, ServerUnreachable, SessionInvalid
from wxauth_server.callers.caller import Role


class World:
    """Two authorities, and servers with certificates of all kinds, which start when needed."""

    def __init__(self, where: Where, stack: ExitStack) -> None:
        self.authority = Authority(where.directory)
        self.rogue = Authority(where.directory, "rogue")
        self.token = caller_token()
        self.own = self.authority.issue("orders.internal")
        self._where = where
        self._stack = stack
        self._addresses: dict[str, str] = {}

    def address(self, server: str) -> str:
        if server not in self._addresses:
            self._addresses[server] = self._started(server)
        return self._addresses[server]

    def credentials(self, given: str) -> Credentials | None:
        past = timedelta(days=-1)
        own: dict[str, Issued | None] = {
            "TLS": None,
            "a certificate": self.own,
            "an expired certificate": self.authority.issue("old", good_for=past),
            "a certificate of Ed25519": self.authority.issue(
                "orders.internal", file="ed25519", key=DEAD_KEYS["Ed25519"]()
            ),
            "a rogue certificate": self.rogue.issue("orders.internal", file="rogue-orders"),
        }
        if given == "plaintext":
            return None
        if given == "a name":
            return shown(self.authority, server_name="wxauth.internal", token=self.token)
        if given == "another authority":
            return shown(self.rogue, token=self.token)
        return shown(self.authority, own[given], token=self.token)

    def _started(self, server: str) -> str:
        issue, callers = self.authority.issue, [caller("orders", Role.SERVICE, self.token)]
        served = {
            "good": lambda: issue("good", "127.0.0.1"),
            "named": lambda: issue("named", "wxauth.internal"),
            "self-signed": lambda: issue("self", "127.0.0.1", self_signed=True),
            "mutual": lambda: issue("mutual", "127.0.0.1"),
        }
        if server == "plaintext":
            running = running_server(
                self._where.directory / "plaintext", self._where.sandbox, self._where.loop
            )
            return self._stack.enter_context(running).address
        if server == "expired":
            return self._outlived(issue("expired", "127.0.0.1", good_for=timedelta(days=-1)))
        client_ca = self.authority.ca if server == "mutual" else None
        return self._stack.enter_context(
            secured_server(self._where, served[server](), *callers, client_ca=client_ca)
        )

    def _outlived(self, own: Issued) -> str:
        """A server whose certificate has ended while it ran: ours would not start with it."""
        server = grpc.server(self._stack.enter_context(ThreadPoolExecutor(1)))
        pair = (own.key.read_bytes(), own.certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        server.start()
        self._stack.callback(lambda: server.stop(None).wait())
        return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory,
    sandbox: RunningSandbox,
    server_loop: asyncio.AbstractEventLoop,
) -> Iterator[World]:
    with ExitStack() as stack:
        yield World(Where(tmp_path_factory.mktemp("tls"), sandbox, server_loop), stack)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("server", "given"),
    [("good", "TLS"), ("named", "a name"), ("mutual", "a certificate"), ("plaintext", "plaintext")],
)
def test_who_trust_each_other(
    world: World, kind: str, server: str, given: str, server_loop: asyncio.AbstractEventLoop
) -> None:
    ask = asker(kind, world.address(server), server_loop, credentials=world.credentials(given))
    with pytest.raises(SessionInvalid):
        ask("validate", "wxs_nobody", timeout_s=5)
    assert ask("ready", 5) is True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("server", "given", "text"),
    [
        ("named", "TLS", "is for another name: .* server_name"),
        ("good", "another authority", "comes from no authority in ca_file"),
        ("self-signed", "TLS", "comes from no authority in ca_file"),
        ("expired", "TLS", "the server's certificate has expired"),
        ("plaintext", "TLS", "a server without TLS listens there"),
        ("good", "plaintext", "hung up at once: if it speaks TLS, give ca_file"),
        ("mutual", "TLS", "if it asks for certificates, give certificate_file and key_file"),
        ("mutual", "a certificate of Ed25519", "gRPC does not use the key of this client's"),
        ("mutual", "a rogue certificate", "may not accept this client's certificate"),
        ("mutual", "an expired certificate", "may not accept this client's certificate"),
    ],
)
def test_who_do_not(
    world: World,
    kind: str,
    server: str,
    given: str,
    text: str,
    server_loop: asyncio.AbstractEventLoop,
) -> None:
    ask = asker(kind, world.address(server), server_loop, credentials=world.credentials(given))
    with pytest.raises(ServerUnreachable, match=text) as failure:
        ask("validate", "wxs_nobody", timeout_s=5)
    assert world.token not in str(failure.value)
    assert ask("ready", 5) is False

"""wxauth doctor: from the gateway to a real server."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.running_server import RunningServer, running_server
from tests.sandbox_server import RunningSandbox
from tests.scripted_wechat import serving
from tests.unit.configured import app, nothing_set
from tests.unit.examined import Report, examined, refused
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import digest_of
from wxauth_server.doctor.findings import Check, Status

__all__ = ["nothing_set"]

CHECK = Check.SERVER_CONNECTION
TOKENS = {role: CANARY.keep(f"wxc_{role}".ljust(47, "x")) for role in ("gateway", "service", "no")}

Serve = Callable[..., RunningServer]


@pytest.fixture
def serve(
    nothing_set: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[Serve]:
    """Runs a server, with callers.json in its directory, until the test is over."""
    with ExitStack() as stack:

        def run(**grpc: Any) -> RunningServer:
            directory = nothing_set / "server"
            directory.mkdir(0o700)
            callers = [
                Caller(role, frozenset([Role(role)]), 1, (CallerToken(digest_of(TOKENS[role]), 1),))
                for role in ("gateway", "service")
            ]
            with changing_callers(directory / "callers.json") as file:
                file.replace(CallerBook(callers))
            running: AbstractContextManager[RunningServer] = running_server(
                directory, sandbox, server_loop, grpc=grpc
            )
            return stack.enter_context(running)

        yield run


@pytest.fixture
def authority(nothing_set: Path) -> Authority:
    return Authority(nothing_set)


def from_gateway(server: str, **credentials: Any) -> Report:
    """What is found by a gateway with these credentials."""
    given = "".join(f'{name} = "{value}"\n' for name, value in credentials.items())
    return examined(
        f'{app()}[gateway]\nserver = "{server}"\n[gateway.credentials]\n{given}'
        # Nothing of this leaves the machine.
        '[wechat]\nbase_url = "http://127.0.0.1:9"\n',
        offline=False,
    )


def told(server: str, *parts: str, status: Status = Status.PROBLEM, **credentials: Any) -> str:
    """What to do."""
    return refused(from_gateway(server, **credentials), CHECK, *parts, status=status).what_to_do


def test_a_server_on_this_machine(serve: Serve) -> None:
    address = serve().address
    assert from_gateway(address).only(CHECK).what == f"the server at {address} admits this gateway"


def test_nobody_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert "wxauth serve" in told(address, "nothing listens")


@pytest.mark.parametrize("server", ["no.such.name.invalid:1", f"{'x' * 64}.internal:1"])
def test_a_name_that_is_none(server: str) -> None:
    what_to_do = told(server, "cannot be resolved")
    assert "gateway.server" in what_to_do
    assert "wxauth serve" not in what_to_do


def test_no_way_there() -> None:
    """An address for broadcasts, which no connection is made to."""
    what_to_do = told("255.255.255.255:1", "cannot be reached")
    assert "gateway.server" in what_to_do
    assert "wxauth serve" not in what_to_do


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """From a listener whose queue is full, as from behind a firewall that drops packets."""
    monkeypatch.setattr("wxauth_server.doctor.connection.TIMEOUT_S", 0.3)
    monkeypatch.setattr("wxauth_server.doctor.handshake.TIMEOUT_S", 0.3)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        what_to_do = told(address, "does not answer in time")
    assert "wxauth serve" not in what_to_do


def test_a_server_that_nobody_named_and_that_may_not_have_been_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a first minute."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    # The tests' machine may have something on the default port.
    monkeypatch.setattr(GatewaySettings.model_fields["server"], "default", address)
    assert "wxauth serve" in told(address, "nothing listens", status=Status.WARNING)


def test_who_calls(serve: Serve) -> None:
    address = serve(require_callers=True).address
    assert "--role gateway" in told(address, "proves nothing")
    unknown = told(address, "does not know the token", token=TOKENS["no"])
    # It may have been revoked: there is nothing to rotate then.
    assert all(part in unknown for part in ("callers rotate NAME", "add NAME --role gateway"))
    assert "role gateway" in told(address, "not as a gateway", token=TOKENS["service"])
    assert from_gateway(address, token=TOKENS["gateway"]).only(CHECK).status is Status.OK


def test_a_server_with_tls(serve: Serve, authority: Authority, nothing_set: Path) -> None:
    issued = authority.issue("wxauth.internal")
    tls = {"certificate_file": issued.certificate, "key_file": issued.key}
    address = serve(tls=tls).address
    right: dict[str, Any] = {"ca_file": authority.ca, "server_name": "wxauth.internal"}

    assert from_gateway(address, **right).only(CHECK).status is Status.OK
    assert "ca_file" in told(address, "speaks TLS, and is spoken to without")
    assert "server_name" in told(address, "other names", ca_file=authority.ca)
    rogue = Authority(nothing_set, "rogue")
    assert "ca_file" in told(address, "another authority", **{**right, "ca_file": rogue.ca})


def test_a_server_whose_certificate_has_expired(authority: Authority) -> None:
    """It was good when the server started, so this is another one."""
    issued = authority.issue("127.0.0.1", good_for=datetime.timedelta(days=-1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(issued.certificate, issued.key)

    def expired(connection: socket.socket) -> None:
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with serving(expired) as server:
        address = server.base_url.removeprefix("http://")
        assert told(address, "has expired", ca_file=authority.ca) == "renew it"


def test_a_server_that_asks_for_certificates(serve: Serve, authority: Authority) -> None:
    issued = authority.issue("127.0.0.1")
    tls = {
        "certificate_file": issued.certificate,
        "key_file": issued.key,
        "client_ca_file": authority.ca,
    }
    address = serve(tls=tls, require_callers=True).address
    assert "certificate_file" in told(address, "refuses ours", ca_file=authority.ca)
    ours = authority.issue("stranger", "10.0.0.5", "spiffe://company/gateway")
    mtls: dict[str, Any] = {
        "ca_file": authority.ca,
        "certificate_file": ours.certificate,
        "key_file": ours.key,
    }
    what_to_do = told(address, "no caller with a name", **mtls)
    assert what_to_do.endswith("--certificate-name spiffe://company/gateway")


def test_a_server_without_tls(serve: Serve, authority: Authority) -> None:
    assert "grpc.tls" in told(serve().address, "does not speak TLS", ca_file=authority.ca)


def test_what_is_no_wxauth(sandbox: RunningSandbox) -> None:
    told(sandbox.base_url.removeprefix("http://"), "does not answer as wxauth")


def test_what_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxauth_server.doctor.connection.TIMEOUT_S", 0.3)
    monkeypatch.setattr("wxauth_server.doctor.handshake.TIMEOUT_S", 0.3)

    def silent(connection: socket.socket) -> None:
        while connection.recv(1 << 20):
            pass

    with serving(silent) as server:
        told(server.base_url.removeprefix("http://"), "does not answer as wxauth")


def test_files_of_the_credentials_that_cannot_be_used() -> None:
    report = from_gateway("127.0.0.1:1", ca_file="none.pem")
    assert report.only(CHECK).status is Status.SKIPPED
    refused(report, Check.CREDENTIALS_CA, "none.pem")


def test_a_token_in_the_open() -> None:
    what_to_do = told("wxauth.internal:1", "travel in the open", token=TOKENS["gateway"])
    assert "ca_file" in what_to_do

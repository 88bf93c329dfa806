"""A gRPC server with TLS that counts what reaches it, and ways to knock at it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from tests.certificates import Authority, Issued
from tests.rpc import raw_http2
from tests.rpc.known_callers import write_callers
from tests.rpc.raw_http2 import RawConnection
from wxauth.v1.auth_service_pb2 import ValidateSessionRequest, ValidateSessionResponse
from wxauth.v1.auth_service_pb2_grpc import AuthServiceServicer, AuthServiceStub
from wxauth.v1.wechat_service_pb2_grpc import WeChatServiceServicer
from wxauth_client.certificates import Certificates, ServerTls, watch_certificates
from wxauth_client.file_watch import FileWatch
from wxauth_server.callers.caller import Caller, CallerBook
from wxauth_server.callers.callers_file import load_callers
from wxauth_server.clock import Clock, SystemClock
from wxauth_server.rpc.callers import Callers
from wxauth_server.rpc.server import RpcServer
from wxauth_server.settings import GrpcSettings


class _Validating(AuthServiceServicer):
    """Every session is live. Its other methods are not called."""

    async def ValidateSession(self, request: Any, context: Any) -> Any:  # noqa: N802
        return ValidateSessionResponse()


class CountingCallers(Callers):
    """Counts every call that comes as far as this, whoever makes it."""

    arrived = 0

    def check(self, *args: Any) -> None:
        self.arrived += 1
        super().check(*args)


@dataclass
class TlsServer:
    port: int
    #: Of the server's certificate, which is server.pem beside it.
    authority: Authority
    certificates: FileWatch[Certificates]
    callers: CountingCallers
    book: FileWatch[CallerBook]
    callers_file: Path

    @property
    def arrived(self) -> int:
        return self.callers.arrived

    def set_callers(self, *callers: Caller) -> None:
        """As within a second of a change of the file."""
        write_callers(self.callers_file, *callers)
        self.book.refresh()

    @contextmanager
    def stub(
        self, client: Issued | None = None, *, ca: Path | None = None, name: str = ""
    ) -> Iterator[AuthServiceStub]:
        """A connection of its own, with the client's certificate if it has one."""
        credentials = grpc.ssl_channel_credentials(
            (ca or self.authority.ca).read_bytes(),
            client.key.read_bytes() if client else None,
            client.certificate.read_bytes() if client else None,
        )
        options: list[tuple[str, Any]] = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        ]
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        target = f"127.0.0.1:{self.port}"
        with grpc.secure_channel(target, credentials, options=options) as channel:
            yield AuthServiceStub(channel)

    def context(self, client: Issued | None = None) -> ssl.SSLContext:
        """For a connection that is made by hand."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.set_alpn_protocols(["h2"])
        if client:
            context.load_cert_chain(client.certificate, client.key)
        return context


class TlsConnection(RawConnection):
    """Speaks HTTP/2 over TLS without waiting for what the server thinks of it.

    Raises: ssl.SSLError.
    """

    def __init__(
        self, port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__(port)
        self.tls = context.wrap_socket(
            self._socket, server_hostname="127.0.0.1", session=session, suppress_ragged_eofs=True
        )
        self._socket = self.tls

    def __enter__(self) -> Self:
        return self


def send_call(connection: RawConnection) -> None:
    """ValidateSession, whatever the server says meanwhile."""
    connection.send(raw_http2.PREFACE)
    connection.send_frame(raw_http2.SETTINGS)
    connection.open_stream(1, "/wxauth.v1.AuthService/ValidateSession")
    empty_message = bytes(5)
    connection.send_frame(raw_http2.DATA, raw_http2.END_STREAM, 1, empty_message)


def frames_until_closed(connection: RawConnection) -> list[raw_http2.Frame]:
    """What a call is answered with before the server closes the connection."""
    with suppress(ssl.SSLError, ConnectionError):  # ways to close it
        send_call(connection)
        return connection.wait_closed()
    return []


def validate(stub: AuthServiceStub, *metadata: tuple[str, str]) -> None:
    stub.ValidateSession(ValidateSessionRequest(session_id="x"), timeout=10, metadata=metadata)


def start_server(
    loop: asyncio.AbstractEventLoop,
    callers: Callers,
    certificates: FileWatch[Certificates],
    settings: GrpcSettings,
) -> tuple[RpcServer, int]:
    """Raises: what starting it raises."""

    async def start() -> tuple[RpcServer, int]:
        server = RpcServer(
            _Validating(),  # type: ignore[abstract]
            WeChatServiceServicer(),  # type: ignore[abstract]
            settings,
            callers=callers,
            certificates=certificates,
        )
        return server, await server.start()

    return asyncio.run_coroutine_threadsafe(start(), loop).result(10)


@contextmanager
def tls_server(
    directory: Path,
    loop: asyncio.AbstractEventLoop,
    *callers: Caller,
    clients: Authority | None = None,
    clock: Clock | None = None,
    **settings: Any,
) -> Iterator[TlsServer]:
    """Serve with callers required; with `clients` whoever connects has a certificate of theirs."""
    authority = Authority(directory, "servers")
    issued = authority.issue("server", "127.0.0.1")
    certificates = watch_certificates(
        "certificate of the gRPC server",
        certificate_file=issued.certificate,
        key_file=issued.key,
        ca_file=clients.ca if clients else None,
    )
    file = directory / "callers.json"
    write_callers(file, *callers)
    book = FileWatch("callers", [file], lambda: load_callers(file))
    counting = CountingCallers(None, book, clock or SystemClock(), required=True)
    tls = ServerTls(issued.certificate, issued.key, clients.ca if clients else None)
    defaults = {"listen": "127.0.0.1:0", "tls": tls, "lame_duck_s": 0, "stop_grace_s": 0}
    grpc_settings = GrpcSettings.model_validate(defaults | settings)

    server, port = start_server(loop, counting, certificates, grpc_settings)
    try:
        yield TlsServer(port, authority, certificates, counting, book, file)
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)

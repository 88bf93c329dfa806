"""`wxauth dev`: sandbox, gRPC server and gateway in one process, with demo data."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from wxauth_client.credentials import Credentials
from wxauth_client.target import is_loopback, split_address
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.callers.callers_file import FILE_NAME as CALLERS_NAME
from wxauth_server.cli.development import make_demo_account, make_first_keyring
from wxauth_server.cli.output import CommandFailed
from wxauth_server.cli.running import serve_until_signal, start_log
from wxauth_server.cli.tour import Addresses, print_tour
from wxauth_server.config import SANDBOX_LISTEN, Configuration, load_configuration
from wxauth_server.keyring import FILE_NAME as KEYRING_NAME
from wxauth_server.server_lock import only_server
from wxauth_server.settings import GrpcSettings, WeChatSettings
from wxauth_server.store.settings import StoreSettings

log = logging.getLogger("wxauth.command")

#: How long each part lets what is under way go on after Ctrl-C; below 2 s in all.
_STOP_S = 1


def dev(
    sandbox: Annotated[
        str,
        typer.Option("--sandbox", metavar="HOST:PORT", help="The sandbox; 127.0.0.1 only."),
    ] = SANDBOX_LISTEN,
    grpc: Annotated[
        str,
        typer.Option("--grpc", metavar="HOST:PORT", help="The gRPC server; loopback only."),
    ] = GrpcSettings().listen,
    http: Annotated[
        str,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="The gateway; 0.0.0.0:8080 lets a phone in your network reach it.",
        ),
    ] = GatewaySettings.model_fields["listen"].default,
    data: Annotated[
        Path,
        typer.Option("--data", metavar="DIR", help="Directory of database and key ring."),
    ] = StoreSettings().directory,
) -> None:
    """Run everything in this terminal, with demo data, until Ctrl-C.

    Serves the demo mini-program, whatever is configured, and prints what to
    try. Port 0 takes a free port. GET /login is on.
    """
    host, _ = _split("sandbox", sandbox)
    if host not in {"127.0.0.1", "localhost"}:
        raise CommandFailed(f"sandbox: {sandbox} is refused: only 127.0.0.1 or localhost")
    host, _ = _split("gRPC server", grpc)
    if not is_loopback(host):
        raise CommandFailed(
            f"gRPC server: {grpc} is refused: only 127.0.0.1, localhost or [::1]; other machines "
            "call a wxauth serve, which has TLS"
        )
    configuration = _configuration(grpc, http, data)
    start_log(configuration)
    serve_until_signal(_everything(configuration, sandbox))


def _configuration(grpc: str, http: str, data: Path) -> Configuration:
    """The demo, plaintext and without callers, whatever is configured for the real thing."""
    return load_configuration(
        # Always SQLite: a trial leaves nothing in a database that others use.
        store={"directory": data, "url": None, "url_file": None},
        keyring={"file": data / KEYRING_NAME},
        callers={"file": data / CALLERS_NAME},
        grpc={
            "listen": grpc,
            "tls": None,
            "require_callers": False,
            # A terminal waits for the stop, and no load balancer looks at the health.
            "lame_duck_s": 0.0,
            "stop_grace_s": float(_STOP_S),
        },
        gateway={
            "listen": http,
            "tls": None,
            "plain_http": True,
            "credentials": Credentials(),
            "allow_get_login": True,
        },
        log={"format": "text"},
    ).model_copy(update={"apps": ()})


def _split(part: str, address: str) -> tuple[str, int]:
    try:
        return split_address(address)
    except ValueError as error:
        raise CommandFailed(f"{part}: {address!r} is {error}") from None


@contextlib.asynccontextmanager
async def _everything(configuration: Configuration, sandbox: str) -> AsyncIterator[None]:
    from wechat_sandbox import SandboxApp, create_app
    from wechat_sandbox.server import build_server
    from wxauth_gateway.serve import uvicorn_config
    from wxauth_server.cli.http_part import HttpPart, address_of, listen
    from wxauth_server.rpc.server import PortInUse
    from wxauth_server.wiring import Server

    [demo] = configuration.served_apps()
    stops: list[Callable[[], Awaitable[None]]] = []
    with contextlib.ExitStack() as held:
        # Both sockets before anything is made: a port in use changes nothing.
        wechat_socket = held.enter_context(listen("sandbox", sandbox))
        http_socket = held.enter_context(listen("gateway", configuration.gateway.listen))
        if not configuration.gateway.is_loopback:
            log.warning(
                "the gateway is open to your network, without TLS: passwords travel in the open",
                extra={"address": configuration.gateway.listen},
            )
        held.enter_context(only_server(configuration.store.directory))
        first_run = await asyncio.to_thread(_make_demo_data, configuration)
        try:
            wechat = create_app([SandboxApp(demo.app_id, demo.secret)])
            wechat_part = HttpPart("sandbox", build_server(wechat).config, wechat_socket)
            stops.append(wechat_part.stop)
            await wechat_part.start()

            wechat_url = f"http://{address_of(wechat_socket)}"
            server = Server(
                configuration.model_copy(update={"wechat": WeChatSettings(base_url=wechat_url)})
            )
            try:
                port = await server.start()
            except PortInUse as error:
                raise CommandFailed(f"gRPC server: {error}") from None
            stops.append(server.stop)

            host, _ = split_address(configuration.grpc.listen)
            grpc_address = f"{host}:{port}"
            config = uvicorn_config(
                configuration.gateway.model_copy(update={"server": grpc_address})
            )
            config.timeout_graceful_shutdown = _STOP_S
            gateway_part = HttpPart("gateway", config, http_socket)
            stops.append(gateway_part.stop)
            await gateway_part.start()

            addresses = Addresses(
                sandbox=wechat_url,
                grpc=grpc_address,
                gateway=f"http://{address_of(http_socket)}",
            )
            print_tour(addresses, configuration.store.directory, first_run=first_run)
            yield
        finally:
            # At once: each lets its own calls end, and a login that waits for a
            # slow sandbox would else hold the gRPC server up.
            ended = await asyncio.gather(
                *(stop() for stop in reversed(stops)), return_exceptions=True
            )
            for fault in ended:
                if isinstance(fault, BaseException):
                    raise fault


def _make_demo_data(configuration: Configuration) -> bool:
    """Whether this was the first run on this data directory."""
    make_first_keyring(configuration)
    return make_demo_account(configuration)

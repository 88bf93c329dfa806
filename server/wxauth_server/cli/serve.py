"""`wxauth serve` and `wxauth gateway`: one part in one process each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated

import typer

from wxauth_client.target import split_address
from wxauth_server.cli.development import make_first_keyring
from wxauth_server.cli.options import ConfigFile, DataDirectory, database_exists, load
from wxauth_server.cli.output import CommandFailed
from wxauth_server.cli.running import serve_until_signal, start_log
from wxauth_server.config import Configuration
from wxauth_server.keyring import load_keyring
from wxauth_server.secret_files import warn_of_open_secrets
from wxauth_server.server_lock import only_server
from wxauth_server.transport_security import (
    refuse_unsafe_gateway,
    refuse_unsafe_server,
    transport,
)

log = logging.getLogger("wxauth.command")


def serve(
    config: ConfigFile = None,
    data: DataDirectory = None,
    grpc: Annotated[
        str | None,
        typer.Option(
            "--grpc",
            metavar="HOST:PORT",
            help="Where to listen; port 0 takes a free one. Off loopback that needs grpc.tls and "
            "callers. Default: grpc.listen of the configuration, 127.0.0.1:50051.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the gRPC server until SIGINT or SIGTERM.

    It stops gracefully; a second signal ends it at once. Without a
    configuration it serves the demo mini-program of the sandbox, on loopback. One
    server for a data directory: a second one is refused.
    """
    configuration = load(config, data, grpc={"listen": grpc})
    start_log(configuration)
    refuse_unsafe_server(configuration)
    warn_of_open_secrets(configuration)
    if not (configuration.is_development or database_exists(configuration)):
        # Before the lock: a start without a ring leaves nothing behind.
        load_keyring(configuration.keyring_file)
    with only_server(configuration.store.directory):
        if configuration.is_development:
            log.warning(
                "development setting: no mini-program is configured, so the demo one is served, "
                "whose secret is public"
            )
            if make_first_keyring(configuration):
                log.warning("a key ring was made", extra={"file": str(configuration.keyring_file)})
        serve_until_signal(_grpc(configuration))


@contextlib.asynccontextmanager
async def _grpc(configuration: Configuration) -> AsyncIterator[None]:
    from wxauth_server.rpc.server import PortInUse
    from wxauth_server.wiring import Server

    server = Server(configuration)
    try:
        port = await server.start()
    except PortInUse as error:
        raise CommandFailed(str(error)) from None
    host, _ = split_address(configuration.grpc.listen)
    log.info(
        "ready",
        extra={
            "part": "server",
            "address": f"{host}:{port}",
            "transport": transport(configuration.grpc.tls),
            "callers_required": configuration.grpc.callers_required,
            "callers": server.caller_count,
        },
    )
    try:
        yield
    finally:
        await server.stop()


def gateway(
    config: ConfigFile = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            metavar="HOST:PORT",
            help="Where to listen; port 0 takes a free one. "
            "Default: gateway.listen of the configuration, 127.0.0.1:8080.",
            show_default=False,
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="HOST:PORT",
            help="The gRPC server. Default: gateway.server of the configuration, 127.0.0.1:50051.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the HTTP gateway for the mini-program until SIGINT or SIGTERM."""
    configuration = load(config, gateway={"listen": http, "server": server})
    start_log(configuration)
    refuse_unsafe_gateway(configuration.gateway)
    warn_of_open_secrets(configuration)
    serve_until_signal(_gateway(configuration))


@contextlib.asynccontextmanager
async def _gateway(configuration: Configuration) -> AsyncIterator[None]:
    from wxauth_client import AsyncAuthClient
    from wxauth_gateway.serve import uvicorn_config
    from wxauth_server.cli.http_part import HttpPart, listen

    settings = configuration.gateway
    try:
        # Made here, not by the application: what is wrong with it is one line then.
        client = AsyncAuthClient(settings.server, credentials=settings.credentials)
    except ValueError as problem:
        raise CommandFailed(f"gateway.credentials: {problem}") from None
    async with client:
        listener = listen("gateway", settings.listen)
        part = HttpPart("gateway", uvicorn_config(settings, client), listener)
        await part.start()
        log.info(
            "ready",
            extra={
                "part": "gateway",
                "address": "{}:{}".format(*listener.getsockname()),
                "transport": transport(settings.tls),
                "server": settings.server,
            },
        )
        try:
            yield
        finally:
            await part.stop()

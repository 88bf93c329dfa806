"""`wxauth serve`, `wxauth gateway` and `wxauth sandbox`: one part in one process each."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

import typer

from wxauth_server.cli.development import make_first_keyring
from wxauth_server.cli.options import ConfigFile, DataDirectory, load
from wxauth_server.cli.output import CommandFailed
from wxauth_server.cli.running import serve_until_signal, start_log
from wxauth_server.config import SANDBOX_LISTEN, Configuration, split_address

log = logging.getLogger("wxauth.command")


def serve(
    config: ConfigFile = None,
    data: DataDirectory = None,
    grpc: Annotated[
        str | None,
        typer.Option(
            "--grpc",
            metavar="HOST:PORT",
            help="Where to listen, loopback only; port 0 takes a free one. "
            "Default: grpc.listen of the configuration, 127.0.0.1:50051.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the gRPC server until SIGINT or SIGTERM.

    It stops gracefully; a second signal ends it at once. Without a
    configuration it serves the demo mini-program of the sandbox.
    """
    configuration = load(config, data, grpc={"listen": grpc})
    start_log(configuration)
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
    log.info("ready", extra={"part": "server", "address": f"{host}:{port}"})
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
    serve_until_signal(_gateway(configuration))


@contextlib.asynccontextmanager
async def _gateway(configuration: Configuration) -> AsyncIterator[None]:
    from wxauth_gateway.serve import uvicorn_config
    from wxauth_server.cli.http_part import HttpPart, listen

    settings = configuration.gateway
    listener = listen("gateway", settings.listen)
    part = HttpPart("gateway", uvicorn_config(settings), listener)
    await part.start()
    address = "{}:{}".format(*listener.getsockname())
    log.info("ready", extra={"part": "gateway", "address": address, "server": settings.server})
    try:
        yield
    finally:
        await part.stop()


def sandbox(
    config: ConfigFile = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."
        ),
    ] = SANDBOX_LISTEN,
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            metavar="APPID:SECRET",
            help="A mini-program to play WeChat for, once for each. Default: those of the "
            "configuration, else the demo one. Made-up secrets only: a process list shows them.",
            show_default=False,
        ),
    ] = None,
    slow_ms: Annotated[
        int,
        typer.Option(
            "--slow-ms",
            metavar="MS",
            help="Hold every answer of code2Session back by this long.",
            min=0,
            max=600_000,
        ),
    ] = 0,
) -> None:
    """Run a WeChat for development and CI until SIGINT or SIGTERM.

    It logs anybody in as anybody: keep it off the internet.
    """
    configuration = load(config)
    start_log(configuration)
    secrets = _parse_apps(apps) if apps else _configured_apps(configuration)
    serve_until_signal(_sandbox(listen, secrets, slow_ms))


def _parse_apps(given: Sequence[str]) -> list[tuple[str, str]]:
    parsed: list[tuple[str, str]] = []
    for app in given:
        app_id, colon, secret = app.partition(":")
        if not (app_id and colon and secret):
            raise typer.BadParameter("write it as APPID:SECRET", param_hint="--app")
        if app_id in dict(parsed):
            raise typer.BadParameter(f"{app_id} is there twice", param_hint="--app")
        parsed.append((app_id, secret))
    return parsed


def _configured_apps(configuration: Configuration) -> list[tuple[str, str]]:
    return [(app.app_id, app.secret) for app in configuration.served_apps()]


@contextlib.asynccontextmanager
async def _sandbox(
    address: str, secrets: Sequence[tuple[str, str]], slow_ms: int
) -> AsyncIterator[None]:
    from wechat_sandbox import SandboxApp, create_app
    from wechat_sandbox.server import build_server
    from wxauth_server.cli.http_part import HttpPart, listen

    listener = listen("sandbox", address)
    wechat = create_app([SandboxApp(*app) for app in secrets], slow_ms=slow_ms)
    part = HttpPart("sandbox", build_server(wechat).config, listener)
    await part.start()
    log.info(
        "ready",
        extra={
            "part": "sandbox",
            "address": "{}:{}".format(*listener.getsockname()),
            "apps": [app_id for app_id, _ in secrets],
        },
    )
    try:
        yield
    finally:
        await part.stop()

"""How uvicorn runs the gateway; alone, or beside other servers in one loop."""

from __future__ import annotations

import uvicorn

from wxauth_client import AsyncAuthClient
from wxauth_gateway.app import create_app
from wxauth_gateway.http_server import BoundedHttp
from wxauth_gateway.https import Https
from wxauth_gateway.settings import GatewaySettings

KEEP_ALIVE_S = 75  # nginx's default; a proxy in front should have less
SHUTDOWN_S = 10  # for requests under way; a login has a deadline of 8 s


def uvicorn_config(
    settings: GatewaySettings, client: AsyncAuthClient | None = None
) -> uvicorn.Config:
    """For `listening.Server(config)`, whose `serve(sockets)` is a coroutine.

    Its `load()`, or else `serve`, raises FileUnusable for certificates that cannot
    be used. Logging is left as it is. `client` is that of create_app.
    """
    https = None if settings.tls is None else Https(settings.tls)
    return uvicorn.Config(
        create_app(settings, client),
        host=settings.listen_host,
        port=settings.listen_port,
        http=BoundedHttp,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # it writes query strings; edge.py has a line of its own
        server_header=False,
        proxy_headers=False,  # the peer's address is the socket's: anybody can send a header
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
        ssl_context_factory=https.context if https else None,
        # Also without a connection: who replaces a certificate by a broken one is to
        # hear of it. uvicorn calls each second, however long ago the last call was.
        callback_notify=https.refresh if https else None,
        timeout_notify=0,
    )

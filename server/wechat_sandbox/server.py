"""How the sandbox is served: uvicorn with the settings it needs. No state here."""

from __future__ import annotations

import uvicorn
from starlette.types import ASGIApp

from wechat_sandbox.cutting import CuttableProtocol

# A stalled answer (the slow knobs) holds a stop up for no longer than this.
_STOP_S = 1


def build_server(app: ASGIApp, host: str = "127.0.0.1", port: int = 8090) -> uvicorn.Server:
    """A server for `create_app`'s application; `run()` blocks, `serve()` is for a running loop.

    No access log, since query strings carry the AppSecret and the code. Logging
    is left as the process has configured it. uvloop where installed. Another
    server can serve the application, but not cut connections.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=CuttableProtocol,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    return uvicorn.Server(config)

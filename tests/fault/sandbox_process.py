"""A WeChat sandbox as a process of its own: `python -m tests.fault.sandbox_process`.

Prints its port; ends when its standard input does.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading

import uvicorn

from wechat_sandbox.app import SandboxApp, create_app
from wechat_sandbox.server import build_server
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET


def main() -> None:
    logging.getLogger().setLevel(logging.ERROR)
    server = build_server(create_app([SandboxApp(DEMO_APP_ID, DEMO_APP_SECRET)]))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_stop_at_end_of_input, args=(server,), daemon=True).start()
        server.run(sockets=[listener])


def _stop_at_end_of_input(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


if __name__ == "__main__":
    main()

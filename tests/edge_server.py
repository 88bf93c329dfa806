"""A real proxy of a test run's own, with a configuration of deploy/ as it stands there.

Only the ports are put in, and what a test names. What each proxy needs is in
envoy_server.py and nginx_server.py.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
PATIENCE_S = 20

#: The ports as deploy/ has them.
EDGE, GATEWAY, SERVICE = 8000, 8080, 9000
_PORT = re.compile(rf"(127\.0\.0\.1:|port_value: )({EDGE}|{GATEWAY}|{SERVICE})\b")


@dataclass(frozen=True)
class Behind:
    """The ports of what is behind an edge, and which texts of its configuration to replace."""

    gateway: int
    service: int
    replace: Mapping[str, str]


def deploy(file: str, directory: Path, edge_port: int, behind: Behind) -> Path:
    """Copy a file of deploy/ with these ports; each text to replace that it has is there once."""
    ports = {EDGE: edge_port, GATEWAY: behind.gateway, SERVICE: behind.service}
    text = (DEPLOY / file).read_text("utf-8")
    text = _PORT.sub(lambda found: f"{found[1]}{ports[int(found[2])]}", text)
    for old, new in behind.replace.items():
        assert text.count(old) <= 1
        text = text.replace(old, new)
    copy = directory / Path(file).name
    copy.write_text(text, "utf-8")
    return copy


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def running_edge(command: Sequence[str | Path], directory: Path, port: int) -> Iterator[int]:
    """Run it in the foreground until the block ends; gives the port once it accepts."""
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        end = time.monotonic() + PATIENCE_S
        while not _accepts(port):
            assert process.poll() is None, log.read_text("utf-8", "replace")
            assert time.monotonic() < end, log.read_text("utf-8", "replace")
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def _accepts(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0

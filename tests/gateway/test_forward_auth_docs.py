"""docs/forward-auth.md: its service and its commands, behind either edge."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from tests.edge_server import EDGE, SERVICE, Behind, free_port, running_edge
from tests.envoy_server import running_envoy
from tests.gateway.forwarding import GatewayPort
from tests.nginx_server import INSTALL, NGINX, running_nginx
from tests.running_server import running_server
from tests.sandbox_server import RunningSandbox
from wxauth_gateway.identity_headers import IDENTITY_HEADERS

Running = Callable[[Path, Behind], AbstractContextManager[int]]
PAGE = (Path(__file__).parents[2] / "docs" / "forward-auth.md").read_text("utf-8")


def marked(name: str) -> list[str]:
    """The blocks of that name."""
    blocks = rf"^<!-- test: {name} -->\n```\w+\n(.*?)^```$"
    return re.findall(blocks, PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def gateway_port(
    tmp_path: Path, sandbox: RunningSandbox, server_loop: asyncio.AbstractEventLoop
) -> Iterator[int]:
    """A gateway of a server with the demo account."""
    with (
        running_server(tmp_path / "data", sandbox, server_loop) as server,
        closing(GatewayPort(server_loop)) as gateway,
        gateway.serving(server.address),
    ):
        server.add_account("zhangsan", "pwd123456", account_id="10001")
        yield gateway.port


@pytest.mark.parametrize("running", [running_envoy, running_nginx])
def test_the_commands_print_what_the_page_shows(
    tmp_path: Path, sandbox: RunningSandbox, gateway_port: int, running: Running
) -> None:
    if running is running_nginx and not NGINX:
        pytest.skip(INSTALL)
    [orders] = marked("orders")
    service = free_port()
    code = orders.replace(str(SERVICE), str(service))
    places = [tmp_path / name for name in ("service", "edge")]
    for place in places:
        place.mkdir()
    with (
        running_edge((sys.executable, "-c", code), places[0], service),
        running(places[1], Behind(gateway_port, service, {})) as port,
    ):
        commands = "\n".join(marked("forward-auth"))
        commands = commands.replace(f"127.0.0.1:{EDGE}", f"127.0.0.1:{port}")
        commands = commands.replace("http://127.0.0.1:8090", sandbox.base_url)
        done = subprocess.run(
            ["bash", "-u"], input=commands, capture_output=True, encoding="utf-8", timeout=20
        )
    shown = "".join(re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    assert re.fullmatch(re.escape(shown).replace("…", "[^\n]*"), done.stdout), done


@pytest.mark.parametrize("section", ["What the service is told", "Traefik", "Caddy"])
def test_every_header_is_in(section: str) -> None:
    [text] = re.findall(rf"^## {section}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert [name for name in IDENTITY_HEADERS if name not in text] == []

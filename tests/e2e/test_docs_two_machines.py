"""docs/tls.md, followed as it is printed, with both machines on this one."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.e2e.test_docs import DOCS, commands_of, needs_curl, run_python, same, snippet
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import PATIENCE_S, WXAUTH, environment, ready, running
from wxauth_server.config import DEMO_APP_ID

PAGE = DOCS / "tls.md"


@dataclass(frozen=True)
class Machines:
    """What the page calls auth.internal and shop.internal."""

    auth: Path
    shop: Path
    #: How to reach the server by gRPC, under its name in the certificate's place.
    server: str
    gateway: str

    def here(self, text: str) -> str:
        return text.replace("auth.internal:50051", self.server).replace(
            "127.0.0.1:8080", self.gateway
        )


def shell(script: str, directory: Path) -> str:
    """What the commands print; `wxauth` is the one of this tree."""
    function = f'wxauth() {{ {" ".join(WXAUTH)} "$@"; }}\n'
    done = subprocess.run(
        ["bash", "-eu", "-c", function + script],
        cwd=directory,
        env=environment({"WXAUTH_PASSWORDS__BCRYPT_COST": "4"}),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def machines(
    tmp_path_factory: pytest.TempPathFactory, sandbox: RunningSandbox
) -> Iterator[Machines]:
    auth, shop = (tmp_path_factory.mktemp(name) for name in ("auth", "shop"))
    # Before the first command, which reads it.
    toml = snippet(PAGE, "auth-toml").replace("http://127.0.0.1:8090", sandbox.base_url)
    (auth / "wxauth.toml").write_text(toml)
    for commands, _ in commands_of(PAGE, "auth-files"):
        # The name that resolves here, in place of the page's.
        shell(commands.replace("auth.internal", "localhost"), auth)
    for token in auth.glob("*.token"):
        CANARY.keep(token.read_text().strip())
    for file in ("tls/ca.pem", "gateway.token", "orders.token"):
        shutil.copy(auth / file, shop)  # as scp does
    with running("serve", "--grpc", "0.0.0.0:0", cwd=auth) as serving:
        server = f"localhost:{ready(serving).rpartition(':')[2]}"
        variables = {
            "WXAUTH_GATEWAY__SERVER": server,
            "WXAUTH_CA_FILE": "ca.pem",
            "WXAUTH_TOKEN_FILE": "gateway.token",
        }
        with running("gateway", "--http", "127.0.0.1:0", cwd=shop, variables=variables) as gateway:
            yield Machines(auth, shop, server, ready(gateway))


@needs_curl
def test_the_walk_through(machines: Machines, sandbox: RunningSandbox) -> None:
    code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
    steps = commands_of(PAGE, "shop")
    assert len(steps) == 2
    for commands, shown in steps:
        printed = shell(machines.here(commands).replace("CODE", code), machines.shop)
        assert same(shown, printed), f"after {commands}the page shows\n{shown}but it was\n{printed}"
    session_id = CANARY.keep(printed.strip())

    ask = f"\nprint(user_of({session_id!r}))\n"
    python = machines.here(snippet(PAGE, "orders"))
    for file in ("ca.pem", "orders.token"):
        assert f'"{file}"' in python
        python = python.replace(f'"{file}"', repr(str(machines.shop / file)))
    assert run_python(python + ask + "auth.close()\n") == "10001\n"
    may_not = "\ntry:\n    auth.login('x')\nexcept Exception as e:\n    print(type(e).__name__)\n"
    assert run_python(python + may_not + "auth.close()\n") == "CallerForbidden\n"


def test_a_port_that_speaks_tls_is_no_plaintext_port(machines: Machines) -> None:
    """What the walk through made is what the page says: nothing answers without TLS."""
    host, _, port = machines.server.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert b"HTTP" not in connection.recv(1024)

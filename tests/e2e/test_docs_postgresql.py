"""docs/postgresql.md, followed as it is printed: from nothing to two servers, and back again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, PASSWORD
from tests.e2e.test_docs import DOCS, commands_of, same, snippet
from tests.pgserver import PostgresProcess, _programs
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import (
    PATIENCE_S,
    WXAUTH,
    RunningCommand,
    done_well,
    environment,
    ready,
    refused,
    running,
    wxauth,
)
from wxauth_client import AuthClient
from wxauth_client.errors import SessionRevoked
from wxauth_server.config import DEMO_APP_ID, DEMO_APP_SECRET
from wxauth_server.keyring import create_keyring

PAGE = DOCS / "postgresql.md"
#: After it a session that has ended is refused everywhere (design.md section 6).
PROMISE_S = 1.0
_TLS = "?sslmode=verify-full&sslrootcert=/etc/wxauth/db-ca.pem"
for word in ("SERVER-PASSWORD", "OWNER-PASSWORD"):
    assert word in PAGE.read_text("utf-8")


@dataclass(frozen=True)
class Machine:
    """A directory in place of a machine's root."""

    root: Path
    postgres: PostgresProcess

    @property
    def etc(self) -> Path:
        return self.root / "etc"

    @property
    def variables(self) -> dict[str, str]:
        return CHEAP | {"WXAUTH_CONFIG": str(self.etc / "wxauth.toml")}

    def here(self, text: str) -> str:
        """A text of the page, on this machine. pip's PostgreSQL knows no TLS."""
        return (
            text.replace(_TLS, "")
            .replace("db.internal:5432", f"127.0.0.1:{self.postgres.port}")
            .replace("/etc/wxauth", str(self.etc))
            .replace("/var/lib/wxauth", str(self.root / "lib"))
            .replace("wx0123456789abcdef", DEMO_APP_ID)
            .replace("-PASSWORD", "-PASSWORD-canary")
        )

    def do(self, test: str) -> None:
        for commands, shown in commands_of(PAGE, test):
            printed = self._shell(self.here(commands))
            assert same(self.here(shown), printed), f"after {commands}it was\n{printed}"

    def _shell(self, script: str) -> str:
        functions = f'sudo() {{ shift 2; "$@"; }}\nwxauth() {{ {" ".join(WXAUTH)} "$@"; }}\n'
        administrator = {
            "PGHOST": str(self.postgres.directory),
            "PGPORT": str(self.postgres.port),
            "PGUSER": "postgres",
            "PATH": f"{_programs()}{os.pathsep}{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", functions + script],
            cwd=self.root,
            env=environment(self.variables | administrator),
            capture_output=True,
            encoding="utf-8",
            timeout=2 * PATIENCE_S,
        )
        CANARY.hear("docs/postgresql.md", done.stdout + done.stderr)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def machine(
    tmp_path_factory: pytest.TempPathFactory,
    store_postgres: PostgresProcess,
    sandbox: RunningSandbox,
) -> Machine:
    for whose in ("OWNER", "SERVER"):
        CANARY.keep(f"{whose}-PASSWORD-canary")
    made = Machine(tmp_path_factory.mktemp("first"), store_postgres)
    made.etc.mkdir(mode=0o700)
    secret = made.etc / f"{DEMO_APP_ID}.secret"
    secret.touch(0o600)
    secret.write_text(DEMO_APP_SECRET)
    toml = made.here(snippet(PAGE, "toml"))
    wechat = f'[wechat]\nbase_url = "{sandbox.base_url}"\n[grpc]\nlame_duck_s = 0\n'
    (made.etc / "wxauth.toml").write_text(toml + wechat)
    made.do("roles")
    # Before anything is there, each says what to do first.
    (made.etc / "database.url").touch(0o600)
    (made.etc / "database.url").write_text(
        made.here("postgresql://wxauth_server:SERVER-PASSWORD@db.internal:5432/wxauth")
    )
    for command in (("keys", "init"), ("migrate", "--check")):
        done = wxauth(*command, cwd=made.root, variables=made.variables)
        refused(done, "run wxauth migrate")
    refused(
        wxauth("migrate", cwd=made.root, variables=made.variables),
        "migrate as the owner of the tables",
    )
    made.do("first")
    done_well(
        wxauth(
            "accounts", "add", "zhangsan", "--id", "1", "--password-stdin",
            cwd=made.root, stdin=PASSWORD, variables=made.variables,
        )
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def other(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The second machine, with the files of the first and nothing else."""
    made = Machine(tmp_path_factory.mktemp("second"), machine.postgres)
    shutil.copytree(machine.etc, made.etc)
    toml = made.etc / "wxauth.toml"
    toml.write_text(toml.read_text().replace(str(machine.root), str(made.root)))
    return made


@pytest.fixture(scope="module")
def servers(machine: Machine, other: Machine) -> Iterator[tuple[RunningCommand, RunningCommand]]:
    def serving(on: Machine) -> RunningCommand:
        return stack.enter_context(
            running("serve", "--grpc", ANY_PORT, cwd=on.root, variables=on.variables)
        )

    with ExitStack() as stack:
        both = serving(machine), serving(other)
        yield both
        for server in both:
            assert server.stop() == 0, server.said()
            assert "Traceback" not in server.said()


@pytest.fixture(scope="module")
def clients(
    servers: tuple[RunningCommand, RunningCommand],
) -> Iterator[tuple[AuthClient, AuthClient]]:
    with AuthClient(ready(servers[0])) as one, AuthClient(ready(servers[1])) as another:
        yield one, another


def refused_at(client: AuthClient, session_id: str, ended_s: float) -> None:
    """That no call that begins later than the promise says yes."""
    while True:
        begun_s = time.monotonic()
        try:
            client.validate(session_id)
        except SessionRevoked:
            return
        assert begun_s < ended_s + PROMISE_S


def test_two_servers_are_one(
    clients: tuple[AuthClient, AuthClient], sandbox: RunningSandbox
) -> None:
    for here, there in (clients, clients[::-1]):
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
        session_id = CANARY.keep(
            here.login(code, username="zhangsan", password=PASSWORD).session_id
        )
        assert there.validate(session_id).account.id == "1"
        assert here.validate(session_id).account.id == "1"

        there.logout(session_id)
        ended_s = time.monotonic()

        with pytest.raises(SessionRevoked):  # in the same process at once
            there.validate(session_id)
        refused_at(here, session_id, ended_s)


def test_commands_beside_two_servers(
    machine: Machine, other: Machine, servers: tuple[RunningCommand, RunningCommand]
) -> None:
    def run(*command: str, on: Machine = machine) -> str:
        return done_well(wxauth(*command, cwd=on.root, variables=on.variables))

    assert "nothing is to be done" in run("migrate", "--check")
    owner = machine.variables | {"WXAUTH_STORE__URL_FILE": str(machine.etc / "owner.url")}
    again = done_well(wxauth("migrate", cwd=machine.root, variables=owner))
    assert again == "The database has schema 5: nothing was to be done.\n"
    [account] = json.loads(run("accounts", "list", "--json", on=other))
    assert account["id"] == "1"
    assert {key["state"] for key in json.loads(run("keys", "list", "--json"))} == {"active"}
    (machine.root / "more.csv").write_text("id,username\n2,lisi\n3,wangwu\n")
    for options, there in ((("--dry-run",), 1), ((), 3)):
        done = wxauth("accounts", "import", "more.csv", *options, cwd=machine.root,
                      variables=machine.variables)  # fmt: skip
        assert "dd" in done.stdout
        assert "2, unchanged 0" in done.stdout
        assert len(json.loads(run("accounts", "list", "--json"))) == there
    assert json.loads(run("bindings", "list", "--json", on=other))
    refused(wxauth("keys", "init", cwd=other.root, variables=other.variables), "exists already")
    done = wxauth("doctor", "--json", cwd=other.root, variables=other.variables)
    wrong = {
        finding["check"]
        for finding in json.loads(done.stdout)["findings"]
        if finding["status"] == "problem"
    }
    assert wrong == {"database.durability"}, done.stdout  # fsync is off, for the tests' sake


def test_a_server_with_another_key_ring_is_refused(other: Machine, tmp_path: Path) -> None:
    ring = tmp_path / "ring.json"
    variables = other.variables | {
        "WXAUTH_KEYRING__FILE": str(ring),
        "WXAUTH_STORE__DIRECTORY": str(tmp_path / "data"),
    }

    def why(*command: str) -> str:
        return refused(wxauth(*command, cwd=tmp_path, variables=variables))

    assert "ring.json does not exist" in why("serve")
    assert "on the PostgreSQL server needs the keys" in why("keys", "init")
    create_keyring(ring)
    assert "which the key ring lacks: put back the key ring" in why("serve")


def test_follow_shows_an_event_that_comes_late(machine: Machine) -> None:
    """On PostgreSQL an event has its id before it can be seen."""
    insert = "INSERT INTO audit_events (at, event, app_id) VALUES (1, 'LOGIN', %s)"
    url = (machine.etc / "owner.url").read_text().strip()
    follow = ("audit", "tail", "-n", "1", "--follow", "--json")
    with (
        ExitStack() as stack,
        psycopg.connect(url) as slow,
        psycopg.connect(url, autocommit=True) as quick,
    ):
        quick.execute(insert, ["before"])
        tail = stack.enter_context(running(*follow, cwd=machine.root, variables=machine.variables))
        tail.wait_for("before")
        slow.execute(insert, ["late"])
        quick.execute(insert, ["quick"])
        tail.wait_for("quick")
        slow.commit()
        tail.wait_for("late")
        assert tail.stop() == 0
        assert [json.loads(line)["app_id"] for line in tail.out] == ["before", "quick", "late"]


def test_a_restored_database_begins_anew(
    machine: Machine,
    servers: tuple[RunningCommand, RunningCommand],
    clients: tuple[AuthClient, AuthClient],
    sandbox: RunningSandbox,
) -> None:
    """Last: it stops the servers, and puts another database in the place of theirs."""
    url = (machine.etc / "owner.url").read_text().strip()

    def database_id() -> object:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT database_id FROM revocation_log").fetchone()

    assert all(client.ready(PATIENCE_S) for client in clients)
    code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
    session_id = CANARY.keep(clients[0].login(code).session_id)
    machine.do("backup")
    clients[1].logout(session_id)
    for server in servers:
        assert server.stop() == 0
    former = database_id()

    machine.do("restore")

    assert database_id() != former
    with (
        running("serve", "--grpc", ANY_PORT, cwd=machine.root, variables=machine.variables) as one,
        AuthClient(ready(one)) as client,
    ):
        with pytest.raises(SessionRevoked):  # and not alive again
            client.validate(session_id)
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
        again = CANARY.keep(client.login(code).session_id)
        assert client.validate(again).account.id == "1"

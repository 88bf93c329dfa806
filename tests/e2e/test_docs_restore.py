"""docs/operations.md, Backup and Restore, followed as they are printed."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, PASSWORD, make_data
from tests.e2e.test_docs import DOCS, commands_of, same
from tests.sandbox_server import RunningSandbox
from tests.wxauth_command import PATIENCE_S, WXAUTH, environment, ready, running
from wxauth_client import AuthClient
from wxauth_client.errors import SessionRevoked
from wxauth_server.config import DEMO_APP_ID

PAGE = DOCS / "operations.md"


def test_a_restored_database_begins_anew(tmp_path: Path, sandbox: RunningSandbox) -> None:
    """No session of the copy is alive again, and nobody goes on in the former one's log."""
    make_data(tmp_path)
    data, backup = tmp_path / ".wxauth", tmp_path / "backup"
    backup.mkdir()
    variables = CHEAP | {
        "WXAUTH_WECHAT__BASE_URL": sandbox.base_url,
        "WXAUTH_GRPC__LAME_DUCK_S": "0",
        "WXAUTH_STORE__DIRECTORY": str(data),
    }

    def here(text: str) -> str:
        return (
            text.replace("/var/lib/wxauth", str(data))
            .replace("/backup", str(backup))
            .replace("wx0123456789abcdef", DEMO_APP_ID)
        )

    def do(test: str) -> None:
        steps = commands_of(PAGE, test)
        assert steps
        for commands, shown in steps:
            functions = f'wxauth() {{ {" ".join(WXAUTH)} "$@"; }}\n'
            done = subprocess.run(
                ["bash", "-eu", "-c", functions + here(commands)],
                cwd=tmp_path,
                env=environment(variables),
                capture_output=True,
                encoding="utf-8",
                timeout=PATIENCE_S,
            )
            CANARY.hear("docs/operations.md", done.stdout + done.stderr)
            assert done.returncode == 0, done.stderr
            assert same(here(shown), done.stdout), done.stdout

    def log(file: Path = data / "wxauth.db") -> tuple[str, int]:
        with closing(sqlite3.connect(file)) as database:
            [(database_id, position)] = database.execute(
                "SELECT database_id, position FROM revocation_log"
            )
        return database_id, position

    with (
        running("serve", "--grpc", ANY_PORT, cwd=tmp_path, variables=variables) as server,
        AuthClient(ready(server)) as client,
    ):
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
        session_id = CANARY.keep(
            client.login(code, username="zhangsan", password=PASSWORD).session_id
        )
        do("backup")
        client.logout(session_id)
        assert server.stop() == 0
    former = log()

    do("restore")

    assert log(backup / "wxauth.db")[0] == former[0] != log()[0]
    assert log(data / "former" / "wxauth.db") == former
    assert log()[1] == former[1], "told apart by the id alone"
    assert {file.stat().st_mode & 0o077 for file in (data, *data.iterdir())} == {0}
    with (
        running("serve", "--grpc", ANY_PORT, cwd=tmp_path, variables=variables) as server,
        AuthClient(ready(server)) as client,
    ):
        with pytest.raises(SessionRevoked):  # and not alive again
            client.validate(session_id)
        code = CANARY.keep(sandbox.mint(DEMO_APP_ID, "alice"))
        again = CANARY.keep(client.login(code).session_id)
        assert client.validate(again).account.id == "1"
        assert server.stop() == 0

"""What the tests of the commands share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, make_data
from tests.command_ways import WAYS, Run, run_on
from tests.pgserver import store_postgres as store_postgres
from tests.wxauth_command import ready, running


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A working directory whose .wxauth has a key ring and the account zhangsan, id 1."""
    make_data(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A data directory, and the address of the server that runs on it."""
    directory = tmp_path_factory.mktemp("served")
    make_data(directory)
    (directory / "wxauth.toml").write_text("[grpc]\nlame_duck_s = 0\n")
    with running("serve", "--grpc", ANY_PORT, cwd=directory, variables=CHEAP) as server:
        address = ready(server)
        CANARY.keep((directory / ".wxauth" / "admin.token").read_text().strip())
        yield directory, address
        assert server.stop() == 0
        assert "Traceback" not in server.said()


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest, served: tuple[Path, str]) -> Run:
    return run_on(served, request.param)


@pytest.fixture
def events(served: tuple[Path, str]) -> Callable[[], list[tuple[Any, ...]]]:
    def read() -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(served[0] / ".wxauth" / "wxauth.db")) as database:
            return database.execute("SELECT event, actor FROM audit_events ORDER BY id").fetchall()

    return read

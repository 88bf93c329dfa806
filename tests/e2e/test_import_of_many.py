"""`wxauth accounts import` of many users: memory, the terminal, and a server beside it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.e2e.import_command import (
    IMPORT,
    stored,
    working_directory,
    write_users,
)
from tests.wxauth_command import PATIENCE_S, WXAUTH, environment, running, wxauth


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return working_directory(tmp_path)


#: Runs a command and prints the most memory it took at a time, in KiB, last.
_MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode;"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)"
)


def test_fifty_thousand_users_in_bounded_memory(work: Path) -> None:
    """The short form of `python -m tests.bench --only import`."""
    memory_mib = {}
    for count in (1_000, 50_000):
        write_users(work / "users.csv", count)
        done = wxauth(*IMPORT, "users.csv", cwd=work, prefix=(sys.executable, "-c", _MEASURED))
        assert done.returncode == 0, done
        summary, memory = done.stdout.splitlines()
        assert summary.endswith(f"of {count:,} rows.")
        memory_mib[count] = int(memory) / 1024
    print(memory_mib)
    assert len(stored(work)) == 50_000
    assert memory_mib[50_000] <= 200
    # The page caches of two connections, 16 MiB each, and no row of the file.
    assert memory_mib[50_000] - memory_mib[1_000] <= 32


def test_a_terminal_shows_a_bar(work: Path) -> None:
    write_users(work / "users.csv", 3_000)
    main, terminal = pty.openpty()
    process = subprocess.Popen(
        [*WXAUTH, *IMPORT, "users.csv"],
        cwd=work,
        env=environment({"TERM": "xterm", "COLUMNS": "120"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    try:
        while piece := os.read(main, 65_536):
            said += piece
    except OSError:  # what Linux says when the last one has closed the terminal
        pass
    os.close(main)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert out.decode() == "Added 3,000, unchanged 0, refused 0 of 3,000 rows.\n"
    assert b"Importing" in said
    assert b"a second" in said


def test_logins_go_on_beside_it(work: Path) -> None:
    """A server's writes are not kept waiting until they fail."""
    write_users(work / "users.csv", 20_000)
    any_port = ("--sandbox", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    cheap = {"WXAUTH_PASSWORDS__BCRYPT_COST": "4"}
    with running("dev", *any_port, cwd=work, variables=cheap) as server:
        server.wait_for("Ctrl-C stops everything.")
        address = {
            line.split()[0]: line.split()[1]
            for line in server.out
            if line.strip().startswith(("sandbox ", "gateway "))
        }
        with running(*IMPORT, "users.csv", cwd=work) as command:
            command.wait_for("Columns: ")
            answers: list[int] = []
            while "Added" not in command.said():
                answers.append(log_in(address["sandbox"], address["gateway"], len(answers)))
            assert command.wait() == 0
        assert "Added 20,000" in command.said()
    print(f"{len(answers)} logins")
    assert len(answers) >= 5
    assert set(answers) == {200}


def log_in(sandbox: str, gateway: str, number: int) -> int:
    code = requests.post(
        f"{sandbox}/_control/codes",
        json={"appid": "wxdec0de0000000001", "user": f"reader{number}"},
        timeout=10,
    ).json()["code"]
    credentials = {"username": "zhangsan", "password": "pwd123456"}
    answer = requests.post(
        f"{gateway}/login", json={"code": code, "rebind": True, **credentials}, timeout=10
    )
    return answer.status_code

"""`wxauth dev` as a developer meets it: one terminal, and the commands it prints."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.wxauth_command import PATIENCE_S, RunningCommand, environment, running, wxauth

READY = "Ctrl-C stops everything."
FREE_PORTS = ("--sandbox", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
CHEAP = {"WXAUTH_PASSWORDS__BCRYPT_COST": "4"}


@contextmanager
def dev(cwd: Path, variables: Mapping[str, str] = CHEAP) -> Iterator[RunningCommand]:
    with running("dev", *FREE_PORTS, cwd=cwd, variables=variables) as command:
        command.wait_for(READY)
        yield command


def address(command: RunningCommand, part: str) -> str:
    """Where the summary says that a part listens."""
    line = next(line for line in command.out if line.strip().startswith(part))
    return line.split()[1]


def code_of(command: RunningCommand, user: str) -> str:
    minted = requests.post(
        address(command, "sandbox") + "/_control/codes",
        json={"appid": "wxdec0de0000000001", "user": user},
        timeout=10,
    )
    return str(minted.json()["code"])


def log_in(command: RunningCommand, user: str, password: str) -> requests.Response:
    return requests.post(
        address(command, "gateway") + "/login",
        json={"code": code_of(command, user), "username": "zhangsan", "password": password},
        timeout=10,
    )


def test_the_printed_commands_work_in_their_order(tmp_path: Path) -> None:
    with dev(tmp_path, {}) as command:
        start = command.out.index("Try it in another terminal:") + 1
        tour = command.out[start : command.out.index(READY)]
        assert sum(line.startswith("# ") for line in tour) == 4
        grpcurl = Path(sys.executable).with_name("grpcurl")
        if not grpcurl.exists():  # a machine without it still tries the others
            tour = [line for line in tour if "grpcurl" not in line]

        pasted = subprocess.run(
            ["bash", "-eu"],
            input="\n".join(tour),
            env=environment(),
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=PATIENCE_S,
        )

        assert (pasted.returncode, pasted.stderr) == (0, "")
        first, silent, *validated, who_am_i = split_json(pasted.stdout)
        assert first["boundNow"] is True
        assert silent["boundNow"] is False
        assert first["sessionId"] != silent["sessionId"]
        for login in (first, silent, who_am_i):
            assert login["account"]["id"] == "10001"
            assert login["account"]["username"] == "zhangsan"
            assert login["account"]["displayName"] == "张三"
        assert all(answer["account"]["id"] == "10001" for answer in validated)
        assert len(validated) == int(grpcurl.exists())
        if validated:
            assert validated[0]["session_handle"] == who_am_i["sessionHandle"]
        assert command.stop() == 0
        assert first["sessionId"] not in command.said()


def split_json(text: str) -> list[dict[str, Any]]:
    """The JSON texts that stand one after the other."""
    decoder = json.JSONDecoder()
    found = []
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


def test_the_tour_is_safe_to_paste_into_any_shell(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        titles = [line for line in command.out if line.startswith("# ")]
        # zsh, when one types into it, runs a comment as a command.
        assert not any(re.search(r"""['"`$?*()&|<>;!]""", title) for title in titles)


def test_the_textbooks_get_works_here(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        answer = requests.get(
            address(command, "gateway") + "/login",
            params={
                "username": "zhangsan",
                "password": "pwd123456",
                "code": code_of(command, "alice"),
            },
            timeout=10,
        )
        assert answer.status_code == 200
        command.stop()
        assert "pwd123456" not in "\n".join(command.err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_and_soon(tmp_path: Path, number: signal.Signals) -> None:
    with dev(tmp_path) as command:
        assert log_in(command, "alice", "pwd123456").status_code == 200

        began = time.monotonic()
        assert command.stop(number) == 0
        assert time.monotonic() - began < 2

        assert "Traceback" not in command.said()
        assert "error" not in "\n".join(command.err)


def test_a_login_that_hangs_does_not_hold_the_stop_up(tmp_path: Path) -> None:
    with dev(tmp_path) as command, requests.Session() as client:
        sandbox = address(command, "sandbox")
        client.post(sandbox + "/_control/slow", json={"ms": 60_000}, timeout=10)
        host, port = address(command, "gateway").removeprefix("http://").split(":")
        body = json.dumps({"code": code_of(command, "alice")}).encode()
        with socket.create_connection((host, int(port))) as waiting:
            waiting.sendall(
                b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            # The sandbox notes a question when it comes, and answers it late.
            while not client.get(sandbox + "/_control/exchanges", timeout=10).json():
                pass
            assert command.stop() == 0
        assert "Traceback" not in command.said()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        command.send(signal.SIGINT)
        command.wait_for("stopping")
        command.send(signal.SIGINT)
        # It may have stopped by itself between the two.
        assert command.wait() in (0, 128 + signal.SIGINT)
        assert "Traceback" not in command.said()


def test_what_it_makes_is_private(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
        command.stop()

    assert made.pop(".wxauth") == 0o700
    assert {"keyring.json", "wxauth.db"} <= set(made)
    assert set(made.values()) == {0o600}


def test_a_second_run_keeps_what_was_changed(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        assert "(made just now)" in command.said()
        session = log_in(command, "alice", "pwd123456").json()["sessionId"]
        changed = wxauth(
            "accounts", "set-password", "zhangsan", "--password-stdin",
            cwd=tmp_path, stdin="a better one\n", variables=CHEAP,
        )  # fmt: skip
        assert (changed.returncode, changed.stderr) == (0, "")
        assert "1 session ended" in changed.stdout
        who = requests.get(
            address(command, "gateway") + "/session",
            headers={"Authorization": f"Bearer {session}"},
            timeout=10,
        )
        assert who.json()["error"]["reason"] == "SESSION_REVOKED"
        assert who.json()["error"]["metadata"] == {"cause": "PASSWORD_CHANGED"}
        assert command.stop() == 0

    with dev(tmp_path) as command:
        assert "(made just now)" not in command.said()
        assert log_in(command, "alice", "pwd123456").status_code == 401
        assert log_in(command, "alice", "a better one").status_code == 200


@pytest.mark.parametrize(
    ("option", "part"),
    [("--sandbox", "sandbox"), ("--grpc", "gRPC server"), ("--http", "gateway")],
)
def test_a_port_in_use_is_named_with_its_part(tmp_path: Path, option: str, part: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = list(FREE_PORTS)
        arguments[arguments.index(option) + 1] = busy

        done = wxauth("dev", *arguments, cwd=tmp_path, variables=CHEAP)

    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("wxauth: ")]
    assert part in line
    assert busy in line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_nothing_is_made_when_an_http_port_is_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        assert wxauth("dev", *FREE_PORTS[:-1], busy, cwd=tmp_path).returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sandbox", "0.0.0.0:0"),
        ("--sandbox", "nonsense"),
        ("--grpc", "0.0.0.0:0"),
        ("--grpc", "nonsense"),
        ("--http", "nonsense"),
        ("--http", "no.such.host.invalid:0"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, option: str, value: str) -> None:
    done = wxauth("dev", *FREE_PORTS, option, value, cwd=tmp_path)

    assert done.returncode == 1
    assert done.stderr.startswith("wxauth: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_configured_is_not_touched(tmp_path: Path) -> None:
    """A developer's wxauth.toml for production is beside it: neither its apps nor its data."""
    (tmp_path / "wxauth.toml").write_text(
        """
        [store]
        directory = "production"
        [keyring]
        file = "production.json"
        [[apps]]
        app_id = "wx0123456789abcdef"
        app_secret_file = "does-not-exist"
        """
    )
    with dev(tmp_path) as command:
        assert log_in(command, "alice", "pwd123456").status_code == 200
        assert command.stop() == 0
    assert {path.name for path in tmp_path.iterdir()} == {"wxauth.toml", ".wxauth"}


def test_a_lost_key_ring_is_not_replaced(tmp_path: Path) -> None:
    with dev(tmp_path) as command:
        command.stop()
    (tmp_path / ".wxauth" / "keyring.json").unlink()

    done = wxauth("dev", *FREE_PORTS, cwd=tmp_path)

    assert done.returncode == 1
    assert "keyring.json does not exist" in done.stderr
    assert "Traceback" not in done.stderr
    assert "keyring.json" not in os.listdir(tmp_path / ".wxauth")

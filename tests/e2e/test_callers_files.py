"""`wxauth callers` and its file: where it is made, and what it does to one that is no good."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.wxauth_command import (
    done_well,
    listed,
    refused,
    wxauth,
)
from wxauth_server.callers.tokens import digest_of

ORDERS = ("callers", "add", "orders", "--role", "service")


def callers_file(cwd: Path) -> Path:
    return cwd / ".wxauth" / "callers.json"


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A working directory with the caller orders."""
    assert wxauth(*ORDERS, "--output", "orders.token", cwd=tmp_path).returncode == 0
    return tmp_path


def test_a_directory_that_was_mistyped_is_not_made(tmp_path: Path) -> None:
    refused(wxauth(*ORDERS, "--data", "mistyped", cwd=tmp_path), "there is no directory mistyped")
    for command in ("rotate", "revoke"):
        refused(wxauth("callers", command, "orders", cwd=tmp_path), ".wxauth cannot be used")
    none = wxauth("callers", "list", "--data", "mistyped", "--json", cwd=tmp_path)
    assert (none.returncode, none.stdout) == (0, "[]\n")
    assert none.stderr == "mistyped/callers.json does not exist yet.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text("[callers]\nfile = 'etc/who.json'")
    refused(wxauth(*ORDERS, cwd=tmp_path), "there is no directory etc")
    (tmp_path / "etc").mkdir()
    assert wxauth(*ORDERS, cwd=tmp_path).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc", "wxauth.toml"]
    assert [row["name"] for row in listed("callers", "list", cwd=tmp_path)] == ["orders"]


def test_a_machine_can_begin_with_its_callers(orders: Path) -> None:
    """They are in nobody's way."""
    done_well(wxauth("keys", "init", cwd=orders))
    done_well(wxauth("accounts", "add", "zhangsan", "--no-password", cwd=orders))
    assert [row["name"] for row in listed("callers", "list", cwd=orders)] == ["orders"]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"format": 1, "callers": [[]]}'])
def test_a_broken_file_is_left_as_it_is(orders: Path, content: bytes) -> None:
    callers_file(orders).write_bytes(content)
    for command in (("list",), ("rotate", "orders"), ("revoke", "orders"), ("add", *ORDERS[2:])):
        refused(wxauth("callers", *command, cwd=orders), "callers.json: ")
    assert callers_file(orders).read_bytes() == content


def test_a_file_that_others_can_write_is_refused(orders: Path) -> None:
    callers_file(orders).chmod(0o666)
    refused(wxauth("callers", "list", cwd=orders), "can be written by others", "chmod 600")


def test_adds_at_once_all_hold(tmp_path: Path) -> None:
    (tmp_path / ".wxauth").mkdir()
    with ThreadPoolExecutor(4) as threads:
        adds = [
            threads.submit(
                wxauth, "callers", "add", f"caller-{number}", "--role", "service", cwd=tmp_path
            )
            for number in range(4)
        ]
        done = [add.result() for add in adds]
    assert [each.returncode for each in done] == [0] * 4
    tokens = [each.stdout.strip() for each in done]
    callers = json.loads(callers_file(tmp_path).read_text())["callers"]
    assert [caller["tokens"][0]["sha256"] for caller in callers] == [
        digest_of(token) for token in tokens
    ]

"""Databases and key rings that commands cannot use."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from pathlib import Path

import pytest

from tests.command_data import ANY_PORT
from tests.wxauth_command import done_well, refused, wxauth


@pytest.mark.parametrize(
    "command",
    [("serve", "--grpc", ANY_PORT), ("accounts", "list"), ("accounts", "disable", "zhangsan")],
    ids=lambda command: command[0] + command[1],
)
def test_a_database_of_a_newer_version_is_left_as_it_is(
    data: Path, command: tuple[str, ...]
) -> None:
    file = data / ".wxauth" / "wxauth.db"
    database = sqlite3.connect(file)
    database.execute("UPDATE schema_state SET version = 99, oldest_compatible = 98")
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    before = hashlib.sha256(file.read_bytes()).hexdigest()

    refused(wxauth(*command, cwd=data), "schema 99", "98 or later")

    assert hashlib.sha256(file.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"format": 7, "keys": []}'])
def test_a_file_that_is_no_key_ring(data: Path, content: bytes) -> None:
    ring = data / ".wxauth" / "keyring.json"
    ring.write_bytes(content)
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "keyring.json")
    refused(wxauth("keys", "list", cwd=data), "keyring.json")
    assert ring.read_bytes() == content


def test_a_key_ring_that_others_can_read(data: Path) -> None:
    (data / ".wxauth" / "keyring.json").chmod(0o644)
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "read by others", "chmod 600")


def test_a_key_ring_of_another_database(data: Path) -> None:
    done_well(wxauth("keys", "init", "--data", "other", cwd=data))
    os.replace(data / "other" / "keyring.json", data / ".wxauth" / "keyring.json")
    for command in (("serve", "--grpc", ANY_PORT), ("accounts", "disable", "zhangsan")):
        refused(wxauth(*command, cwd=data), "which the key ring lacks")


def test_a_file_that_is_no_database(data: Path) -> None:
    (data / ".wxauth" / "wxauth.db").write_bytes(b"this is no database" * 1_000)
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "cannot be opened as a database")
    refused(wxauth("accounts", "list", cwd=data), "cannot be opened as a database")

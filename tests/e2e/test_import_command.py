"""`wxauth accounts import`, as a process of its own: every kind of file, and those it refuses."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.import_command import (
    CSV,
    IMPORT,
    STORED,
    events,
    imported,
    stored,
    working_directory,
)
from tests.unit.imported import BCRYPT
from tests.wxauth_command import refused, wxauth
from wxauth_server.cli.import_accounts import BATCH_ROWS
from wxauth_server.store.sqlite import SQLiteStore


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with an empty database."""
    directory = working_directory(tmp_path)
    SQLiteStore(directory / ".wxauth").close()
    return directory


def test_csv(work: Path) -> None:
    (work / "users.csv").write_text(CSV)
    said = imported(work, "users.csv")
    assert said.splitlines() == [
        "Added 2, unchanged 0, refused 0 of 2 rows.",
        (
            "Columns: id=id, username=username, display_name=nickname, phone=mobile, "
            "password_hash=password_hash, enabled=is_active."
        ),
        "Not read: created.",
    ]
    assert stored(work) == STORED
    assert events(work) == [("ACCOUNTS_IMPORTED", "command", 2)]

    assert "Added 0, unchanged 2, refused 0" in imported(work, "users.csv")
    assert events(work) == [("ACCOUNTS_IMPORTED", "command", 2)]


@pytest.mark.parametrize("name", ["users.json", "users.jsonl", "users.db"])
def test_the_other_formats(work: Path, name: str) -> None:
    objects = [*csv.DictReader(CSV.splitlines())]
    file = work / name
    if name == "users.json":
        file.write_text(json.dumps(objects))
    elif name == "users.jsonl":
        file.write_text("\n".join(map(json.dumps, objects)))
    else:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(f"CREATE TABLE users ({', '.join(objects[0])})")
            database.executemany(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?, ?, ?)",
                [list(each.values()) for each in objects],
            )
    assert "Added 2, unchanged 0, refused 0 of 2 rows." in imported(work, name)
    assert stored(work) == STORED


@pytest.mark.parametrize("file_format", ["csv", "jsonl", "json"])
def test_standard_input(work: Path, file_format: str) -> None:
    objects = [*csv.DictReader(CSV.splitlines())]
    content = {
        "csv": CSV,
        "jsonl": "\n".join(map(json.dumps, objects)),
        "json": json.dumps(objects),
    }[file_format]
    said = imported(work, "-", "--format", file_format, stdin=content.encode())
    assert "Added 2" in said
    assert stored(work) == STORED


def test_everything_that_can_be_said(work: Path) -> None:
    content = f"Nr\t登录名\tname\n7\t王五\t{BCRYPT}\n"
    (work / "export").write_bytes(content.encode("gb18030"))
    said = imported(
        work, "export", "--format", "csv", "--encoding", "gb18030", "--delimiter", "\\t",
        "--map", "id=Nr", "--map", "username=登录名", "--map", "password_hash=name",
        "--data", work / ".wxauth",
    )  # fmt: skip
    assert "Columns: id=Nr, username=登录名, password_hash=name." in said
    assert stored(work) == [("7", "王五", None, None, f"bcrypt$${BCRYPT}", 0)]


# --- Files that are refused --------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "arguments", "problem"),
    [
        ("users", CSV, (), "users: say with --format what it is: csv, json, jsonl, sqlite"),
        ("users.csv", "", (), "users.csv: the file is empty"),
        ("users.csv", "a,b\n", (), "no column for id and username"),
        ("users.csv", CSV, ("--map", "phone=tel"), "no column 'tel' for phone"),
        ("users.csv", CSV, ("--map", "email=x"), "there is no field 'email'"),
        ("users.csv", CSV, ("--table", "x"), "--table is for SQLite"),
        ("users.csv", CSV, ("--encoding", "x"), "the encoding 'x' is not known"),
        ("users.csv", CSV, ("--delimiter", ";"), "is it another --delimiter?"),
        ("users.db", CSV, (), "cannot be read as an SQLite database"),
        ("users.json", CSV, (), "--format jsonl"),
        ("users.csv", "id,username,password\n1,a,secret99\n", (), "Passwords in plain text"),
    ],
)
def test_a_file_that_is_refused(
    work: Path, name: str, content: str, arguments: tuple[str, ...], problem: str
) -> None:
    (work / name).write_text(content)
    line = refused(wxauth(*IMPORT, name, *arguments, cwd=work), problem)
    assert "secret99" not in line
    assert stored(work) == []


def test_a_wrong_encoding_is_refused_before_anything_is_imported(work: Path) -> None:
    many = "".join(f"{number},u{number}\n" for number in range(2_000))
    (work / "users.csv").write_bytes(f"id,username\n{many}x,张三\n".encode("gb18030"))
    refused(wxauth(*IMPORT, "users.csv", cwd=work), "line 2002 is not utf-8", "gb18030")
    assert stored(work) == []


def test_a_pipe_is_imported_as_far_as_it_can_be_read(work: Path) -> None:
    many = "".join(f"{number},u{number}\n" for number in range(2_000))
    content = f"id,username\n{many}".encode() + b"x" * 100_000 + b"\n9,\xff\n"
    # With a prefix it is a pipe; else it is a file, which is read twice.
    pipe = ("env",)
    done = wxauth(*IMPORT, "-", "--format", "csv", cwd=work, stdin=content, prefix=pipe)
    assert done.returncode == 1
    whole = 2_000 // BATCH_ROWS * BATCH_ROWS
    assert f"Added {whole:,}," in done.stdout
    assert "It did not come to the end of the file: run it again to go on." in done.stderr
    assert "wxauth: standard input: line 2003 is not utf-8" in done.stderr


@pytest.mark.parametrize(("name", "why"), [("gone.csv", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read(work: Path, name: str, why: str) -> None:
    refused(wxauth(*IMPORT, name, "--format", "csv", cwd=work), f"{name}: cannot be read: {why}")


@pytest.mark.parametrize("columns", [("id",), ("id=a", "id=b")], ids=str)
def test_wrong_usage(work: Path, columns: tuple[str, ...]) -> None:
    said = [part for each in columns for part in ("--map", each)]
    done = wxauth(*IMPORT, "users.csv", *said, cwd=work)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--map" in done.stderr


def test_a_data_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text(CSV)
    for more in ((), ("--dry-run",)):
        done = wxauth(*IMPORT, "users.csv", *more, "--data", "mistyped", cwd=tmp_path)
        refused(done, "mistyped holds no wxauth database")
    assert not (tmp_path / "mistyped").exists()

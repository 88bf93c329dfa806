"""`wxauth accounts add` and `list`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import bcrypt
import pytest

from tests.canary import CANARY
from tests.command_data import CHEAP, PASSWORD
from tests.wxauth_command import PATIENCE_S, WXAUTH, done_well, environment, listed, refused, wxauth

#: Those that work on what is there.
ON_DATA = (
    ("accounts", "list"),
    ("accounts", "add", "zhangsan", "--no-password"),
    ("accounts", "set-password", "zhangsan", "--password-stdin"),
    ("accounts", "set-phone", "zhangsan", "--none"),
    ("accounts", "set-username", "zhangsan", "--to", "lisi"),
    ("accounts", "show", "zhangsan"),
    ("accounts", "unlock", "zhangsan"),
    ("accounts", "disable", "zhangsan"),
    ("accounts", "enable", "zhangsan"),
    ("bindings", "list"),
    ("bindings", "end", "wx1", "o"),
    ("sessions", "list"),
    ("sessions", "end", "x"),
    ("sessions", "end", "--app", "wx1", "--yes"),
)


@pytest.mark.parametrize("command", ON_DATA, ids=" ".join)
def test_a_data_directory_that_is_not_there_is_not_made(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = wxauth(*command, "--data", "mistyped", cwd=tmp_path, stdin=PASSWORD)
    refused(done, "mistyped holds no wxauth database", "wxauth keys init")
    assert list(tmp_path.iterdir()) == []


def test_a_password_from_stdin_is_stored_hashed(data: Path) -> None:
    password = CANARY.keep("第二个很长的密码")
    add = ("accounts", "add", "lisi", "--id", "2", "--password-stdin")
    done_well(wxauth(*add, cwd=data, stdin=password + "\n", variables=CHEAP))

    assert listed("accounts", "list", cwd=data)[1]["has_password"] is True
    for file in (data / ".wxauth").iterdir():
        assert password.encode() not in file.read_bytes()


def test_an_account_is_added_and_listed(data: Path) -> None:
    added = done_well(
        wxauth(
            "accounts", "add", "Lisi", "--name", "[red]李四[/red]", "--phone", "+8613800138000",
            "--no-password", cwd=data,
        )
    )  # fmt: skip
    # In the order of their ids, of which one is random.
    accounts = {row["username"]: row for row in listed("accounts", "list", cwd=data)}
    first, second = accounts["zhangsan"], accounts["Lisi"]

    assert first["id"] == "1"
    assert first["has_password"] is True
    assert second["id"] in added
    assert second | {"id": "", "created_at": ""} == {
        "source": "local",
        "id": "",
        "username": "Lisi",
        "display_name": "[red]李四[/red]",
        "phone": "+8613800138000",
        "phone_verified_at": None,
        "has_password": False,
        "password_locked": False,
        "created_at": "",
        "disabled_at": None,
        "deleted_at": None,
    }
    table = done_well(wxauth("accounts", "list", cwd=data))
    assert "[red]李四[/red]" in table
    assert "+8613800138000" in table
    assert "$2b$" not in table


def test_more_accounts_than_were_listed(data: Path) -> None:
    done_well(wxauth("accounts", "add", "lisi", "--no-password", cwd=data))

    said = done_well(wxauth("accounts", "list", "--limit", "1", cwd=data))
    assert "There are more; a --limit above 1 shows them." in said
    as_json = wxauth("accounts", "list", "--limit", "1", "--json", cwd=data)
    assert len(json.loads(as_json.stdout)) == 1
    assert "There are more" in as_json.stderr
    assert "more" not in done_well(wxauth("accounts", "list", "--limit", "2", cwd=data))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("lisi", "--id", "1"), "id '1'"),
        (("ZhangSan",), "username 'ZhangSan'"),
        (("li si",), "username: this username is not allowed"),
        (("lisi", "--id", ""), "id is empty"),
        (("lisi", "--id", "a" * 129), "128 bytes"),
        (("lisi", "--phone", "13800138000"), "E.164"),
        (("lisi", "--name", "a\nb"), "control character"),
    ],
)
def test_an_account_that_is_refused(data: Path, arguments: tuple[str, ...], problem: str) -> None:
    refused(wxauth("accounts", "add", *arguments, "--no-password", cwd=data), problem)
    assert len(listed("accounts", "list", cwd=data)) == 1


@pytest.mark.parametrize(
    ("stdin", "problem"),
    [
        ("", "8 characters"),
        ("short\n", "8 characters"),
        ("long enough\nand more\n", "on one line"),
        (b"\xff" * 8, "not UTF-8"),
        ("long enough\0", "NUL"),
        ("x" * 2_000, "at most 256"),
    ],
)
def test_a_password_that_is_refused(data: Path, stdin: str | bytes, problem: str) -> None:
    add = ("accounts", "add", "lisi", "--password-stdin")
    refused(wxauth(*add, cwd=data, stdin=stdin, variables=CHEAP), problem)


def test_a_hash_of_another_system(data: Path) -> None:
    foreign = bcrypt.hashpw(b"from elsewhere", bcrypt.gensalt(4))
    add = ("accounts", "add", "lisi", "--id", "2", "--hash-stdin")
    refused(wxauth(*add, cwd=data, stdin="5f4dcc3b5aa765d61d83"), "no bcrypt hash")
    done_well(wxauth(*add, cwd=data, stdin=foreign + b"\r\n"))
    assert listed("accounts", "list", cwd=data)[1]["has_password"] is True


def test_without_a_terminal_the_password_must_come_from_stdin(data: Path) -> None:
    refused(wxauth("accounts", "add", "lisi", cwd=data), "--password-stdin")
    refused(wxauth("accounts", "set-password", "zhangsan", cwd=data), "--password-stdin")


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        (("typed twice", "typed twice"), 0, "Added the account lisi"),
        (("typed twice", "typed otherwise"), 1, "the two passwords differ"),
    ],
    ids=["same", "different"],
)
def test_a_password_is_typed_twice_and_unseen(
    data: Path, typed: tuple[str, str], status: int, said: str
) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*WXAUTH, "accounts", "add", "lisi"],
        cwd=data,
        env=environment(CHEAP),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # else it would ask on the terminal of the test run
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        err = b""
        for prompt, answer in zip((b"Password: ", b"Again: "), typed, strict=True):
            while not err.endswith(prompt):
                read = os.read(process.stderr.fileno(), 1_000)
                assert read, err
                err += read
            os.write(ours, answer.encode() + b"\n")
        rest = process.stdout.read() + process.stderr.read()
        assert process.wait(PATIENCE_S) == status
    os.close(its)
    echoed = b""
    try:
        while chunk := os.read(ours, 1_000):
            echoed += chunk
    except OSError:  # how Linux tells that the other side is closed
        pass
    os.close(ours)
    assert said in rest.decode()
    for password in typed:
        assert password.encode() not in echoed + err + rest

"""The `wxauth` command, but for `wxauth dev`: real processes on real directories."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
from contextlib import ExitStack
from pathlib import Path

import bcrypt
import pytest
import requests

from tests.canary import CANARY
from tests.running_server import TEST_COST
from tests.wxauth_command import (
    PATIENCE_S,
    WXAUTH,
    done_well,
    environment,
    listed,
    ready,
    refused,
    running,
    wxauth,
)
from wxauth_server.accounts.manage import AccountManager, NewPassword
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.source import LOCAL
from wxauth_server.clock import SystemClock
from wxauth_server.config import DEMO_APP_ID, Configuration, load_configuration
from wxauth_server.keyring import create_keyring
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.sqlite import SQLiteStore

REPOSITORY = Path(__file__).parents[2]
CHEAP = {"WXAUTH_PASSWORDS__BCRYPT_COST": str(TEST_COST)}
PASSWORD = CANARY.keep("a password of the command tests")
ANY_PORT = "127.0.0.1:0"

COMMANDS = (
    ("serve",),
    ("gateway",),
    ("sandbox",),
    ("dev",),
    ("accounts", "add"),
    ("accounts", "list"),
    ("accounts", "set-password"),
    ("accounts", "set-phone"),
    ("accounts", "disable"),
    ("accounts", "enable"),
    ("bindings", "list"),
    ("sessions", "list"),
    ("keys", "init"),
    ("keys", "add"),
    ("keys", "activate"),
    ("keys", "retire"),
    ("keys", "list"),
)
#: Those that work on what is there.
ON_DATA = (
    ("accounts", "list"),
    ("accounts", "add", "zhangsan", "--no-password"),
    ("accounts", "set-password", "zhangsan", "--password-stdin"),
    ("accounts", "set-phone", "zhangsan", "--none"),
    ("accounts", "disable", "zhangsan"),
    ("accounts", "enable", "zhangsan"),
    ("bindings", "list"),
    ("sessions", "list"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A working directory whose .wxauth has a key ring and the account zhangsan, id 1."""
    directory = tmp_path / ".wxauth"
    hasher = PasswordHasher(create_keyring(directory / "keyring.json"), cost=TEST_COST)
    store = SQLiteStore(directory)
    AccountManager(store, hasher, SystemClock()).add(
        account_id="1", username="zhangsan", password=NewPassword(PASSWORD)
    )
    store.close()
    return tmp_path


# --- Help and wrong usage ----------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help(tmp_path: Path, command: tuple[str, ...]) -> None:
    said = done_well(wxauth(*command, "-h", cwd=tmp_path))
    assert f"Usage: wxauth {' '.join(command)}" in said
    assert list(tmp_path.iterdir()) == []


def test_the_help_lists_every_command(tmp_path: Path) -> None:
    said = done_well(wxauth("-h", cwd=tmp_path))
    assert said == done_well(wxauth("--help", cwd=tmp_path))
    assert all(command[0] in said for command in COMMANDS)


def test_the_version(tmp_path: Path) -> None:
    assert done_well(wxauth("--version", cwd=tmp_path)).startswith("wxauth ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("serve", "--nonsense"),
        ("accounts", "add"),
        ("accounts", "add", "x", "--password-stdin", "--no-password"),
        ("accounts", "disable"),
        ("accounts", "disable", "zhangsan", "--id", "1"),
        ("accounts", "set-password", "x", "--password-stdin", "--bcrypt-hash-stdin"),
        ("accounts", "set-phone", "--none"),
        ("accounts", "set-phone", "x"),
        ("accounts", "set-phone", "x", "--verified"),
        ("accounts", "set-phone", "x", "--phone", "+8613800138000", "--none"),
        ("accounts", "set-phone", "x", "--none", "--verified"),
        ("keys", "add"),
        ("keys", "add", "nonsense"),
        ("keys", "retire"),
        ("bindings", "list", "--limit", "0"),
        ("sandbox", "--app", "no-colon"),
        ("sandbox", "--app", "wx1:a", "--app", "wx1:b"),
        ("sandbox", "--slow-ms", "-1"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_explained(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = wxauth(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: wxauth" in done.stderr
    assert "Traceback" not in done.stderr


# --- The configuration -------------------------------------------------------


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    refused(wxauth("serve", "--config", "gone.toml", cwd=tmp_path), "gone.toml cannot be read")
    variables = {"WXAUTH_CONFIG": "gone.toml"}
    refused(wxauth("serve", cwd=tmp_path, variables=variables), "gone.toml cannot be read")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[grpc", "is not TOML"),
        (b"\xff", "is not UTF-8"),
        (b"[grpc]\nlissten = 'x'", "grpc.lissten: there is no such key"),
        (b"[nonsense]", "nonsense: there is no such key"),
        (b"[grpc]\nlisten = '0.0.0.0:1'", "grpc.listen: only 127.0.0.1"),
        (b"[[apps]]\napp_id = 'x'\napp_secret = 'hidden-from-you'", "apps.0.app_id"),
    ],
)
def test_a_configuration_that_is_wrong(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "wxauth.toml").write_bytes(content)
    line = refused(wxauth("serve", cwd=tmp_path), problem)
    assert "hidden-from-you" not in line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_reads_the_configuration(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "wxauth.toml").write_text("[nonsense]")
    arguments: dict[tuple[str, ...], list[str]] = {
        ("accounts", "add"): ["x", "--no-password"],
        ("accounts", "set-password"): ["x"],
        ("accounts", "set-phone"): ["x", "--none"],
        ("accounts", "disable"): ["x"],
        ("accounts", "enable"): ["x"],
        ("keys", "add"): ["seal"],
        ("keys", "activate"): ["x"],
        ("keys", "retire"): ["x"],
    }
    done = wxauth(*command, *arguments.get(command, []), cwd=tmp_path)
    refused(done, "nonsense: there is no such key")


def test_a_directory_is_no_configuration(tmp_path: Path) -> None:
    refused(wxauth("serve", "--config", tmp_path, cwd=tmp_path), "cannot be read: Is a directory")


def test_an_unknown_variable(tmp_path: Path) -> None:
    variables = {"WXAUTH_NONSENSE": "1"}
    refused(wxauth("serve", cwd=tmp_path, variables=variables), "WXAUTH_NONSENSE")


def test_a_secret_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text(
        "[[apps]]\napp_id = 'wx0123456789abcdef'\napp_secret_file = 'gone'"
    )
    done_well(wxauth("keys", "init", cwd=tmp_path))
    for command in ("serve", "sandbox"):
        refused(wxauth(command, cwd=tmp_path), "app_secret_file of wx0123456789abcdef")


def test_the_example_is_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("WXAUTH_"):
            monkeypatch.delenv(name)
    example = REPOSITORY / "deploy" / "wxauth.example.toml"

    loaded = load_configuration(example)

    assert not loaded.is_development
    [app] = loaded.apps
    assert loaded.model_dump(exclude={"apps"}) == Configuration.model_construct().model_dump(
        exclude={"apps"}
    )
    text = example.read_text("utf-8")
    for table in Configuration.model_fields:
        settings = app if table == "apps" else getattr(loaded, table)
        for key in type(settings).model_fields:
            assert re.search(rf"^(# )?{key} = ", text, re.MULTILINE), f"{table}.{key} is missing"


# --- Accounts ----------------------------------------------------------------


@pytest.mark.parametrize("command", ON_DATA, ids=lambda command: " ".join(command[:2]))
def test_a_data_directory_that_is_not_there_is_not_made(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = wxauth(*command, "--data", "mistyped", cwd=tmp_path, stdin=PASSWORD)
    refused(done, "mistyped holds no wxauth database", "wxauth keys init")
    assert list(tmp_path.iterdir()) == []


def test_a_password_from_stdin_is_stored_hashed(data: Path) -> None:
    password = CANARY.keep("第二个很长的密码")
    add = ("accounts", "add", "lisi", "--password-stdin")
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
    first, second = listed("accounts", "list", cwd=data)

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
        "created_at": "",
        "disabled_at": None,
    }
    table = done_well(wxauth("accounts", "list", cwd=data))
    assert "[red]李四[/red]" in table
    assert "+8613800138000" in table
    assert "$2b$" not in table


def test_more_accounts_than_were_listed(data: Path) -> None:
    done_well(wxauth("accounts", "add", "lisi", "--no-password", cwd=data))

    said = done_well(wxauth("accounts", "list", "--limit", "1", cwd=data))
    assert "There are more than these 1" in said
    as_json = wxauth("accounts", "list", "--limit", "1", "--json", cwd=data)
    assert len(json.loads(as_json.stdout)) == 1
    assert "There are more" in as_json.stderr
    assert "more" not in done_well(wxauth("accounts", "list", "--limit", "2", cwd=data))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("lisi", "--id", "1"), "id '1'"),
        (("ZhangSan",), "username 'ZhangSan'"),
        (("li si",), "username is not allowed"),
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
    add = ("accounts", "add", "lisi", "--bcrypt-hash-stdin")
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


def test_an_account_that_is_not_there(data: Path) -> None:
    for command in ("disable", "enable"):
        refused(wxauth("accounts", command, "nobody", cwd=data), "username 'nobody'")
        refused(wxauth("accounts", command, "--id", "7", cwd=data), "id '7'")
    set_password = ("accounts", "set-password", "nobody", "--password-stdin")
    refused(wxauth(*set_password, cwd=data, stdin=PASSWORD), "username 'nobody'")


def test_a_phone_number_is_set_verified_unmarked_and_removed(data: Path) -> None:
    def listed_phone() -> tuple[str | None, bool]:
        [account] = listed("accounts", "list", cwd=data)
        return account["phone"], account["phone_verified_at"] is not None

    number = "+8613800138000"
    set_phone = ("accounts", "set-phone")
    said = done_well(wxauth(*set_phone, "zhangsan", "--phone", number, "--verified", cwd=data))
    assert said == f"The account zhangsan has the phone number {number} (verified).\n"
    assert listed_phone() == (number, True)
    assert f"{number} (verified)" in done_well(wxauth("accounts", "list", cwd=data))

    wrong = ("--phone", "13800138000", "--verified")
    refused(wxauth(*set_phone, "zhangsan", *wrong, cwd=data), "E.164")
    assert listed_phone() == (number, True)

    said = done_well(wxauth(*set_phone, "--id", "1", "--phone", number, cwd=data))
    assert said == f"The account zhangsan has the phone number {number}.\n"
    assert listed_phone() == (number, False)
    assert "verified" not in done_well(wxauth("accounts", "list", cwd=data))

    assert "has no phone number." in done_well(wxauth(*set_phone, "--id", "1", "--none", cwd=data))
    assert "already" in done_well(wxauth(*set_phone, "--id", "1", "--none", cwd=data))
    assert listed_phone() == (None, False)
    refused(wxauth(*set_phone, "nobody", "--none", cwd=data), "username 'nobody'")


def test_the_help_says_what_a_verified_number_does(tmp_path: Path) -> None:
    assert "bind_by_phone" in done_well(wxauth("accounts", "set-phone", "--help", cwd=tmp_path))


def test_a_password_that_nobody_can_log_in_with(data: Path) -> None:
    store = SQLiteStore(data / ".wxauth")
    store.write(
        lambda tx: insert_account(
            tx,
            source=LOCAL,
            account_id="registered",
            username=None,
            username_key=None,
            display_name=None,
            phone=None,
            password=None,
            now_ms=1,
        )
    )
    store.close()

    def set_password(account_id: str) -> str:
        command = ("accounts", "set-password", "--id", account_id, "--password-stdin")
        return done_well(wxauth(*command, cwd=data, stdin="another one\n", variables=CHEAP))

    assert "Nobody can log in with it: the account has no username." in set_password("registered")
    assert "Nobody" not in set_password("1")


def test_disabling_and_enabling(data: Path) -> None:
    assert "Disabled" in done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
    assert "already" in done_well(wxauth("accounts", "disable", "--id", "1", cwd=data))
    assert "disabled" in done_well(wxauth("accounts", "list", cwd=data))
    assert "Enabled" in done_well(wxauth("accounts", "enable", "ZHANGSAN", cwd=data))
    assert "already" in done_well(wxauth("accounts", "enable", "--id", "1", cwd=data))


# --- Serving -----------------------------------------------------------------


def test_serving_without_any_configuration(tmp_path: Path) -> None:
    with running("serve", "--grpc", ANY_PORT, cwd=tmp_path) as server:
        host, port = ready(server).split(":")
        socket.create_connection((host, int(port))).close()
        assert "development setting" in server.said()
        made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.said()

    assert made.pop(".wxauth") == 0o700
    assert {"keyring.json", "wxauth.db"} <= set(made)
    assert set(made.values()) == {0o600}


def test_a_second_server_on_a_data_directory_is_refused(data: Path) -> None:
    serve = ("serve", "--grpc", ANY_PORT)
    every_port = [word for part in ("sandbox", "grpc", "http") for word in (f"--{part}", ANY_PORT)]
    said = (".wxauth", "another wxauth serve or wxauth dev", "one server for a data directory")
    with running(*serve, cwd=data) as first:
        host, port = ready(first).split(":")
        refused(wxauth(*serve, "--data", data / ".wxauth", cwd=data), *said)
        refused(wxauth("dev", *every_port, cwd=data), *said)
        socket.create_connection((host, int(port))).close()
        assert stat.S_IMODE((data / ".wxauth" / "server.lock").stat().st_mode) == 0o600
        # Another directory is another matter.
        with running(*serve, "--data", "other", cwd=data) as other:
            ready(other)
        done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
        first.send(signal.SIGKILL)
        first.wait()
    # The lock has ended with its process, and so it does with a graceful stop.
    with running("dev", *every_port, cwd=data) as second:
        second.wait_for("Ctrl-C stops everything.")
        refused(wxauth(*serve, cwd=data), *said)
        assert second.stop() == 0
    with running(*serve, cwd=data) as third:
        ready(third)


def test_a_lock_that_cannot_be_taken_is_named(data: Path) -> None:
    (data / ".wxauth" / "server.lock").mkdir()
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "server.lock is not writable")


APP = "[[apps]]\napp_id = 'wx0123456789abcdef'\n"
OTHER_APP = "[[apps]]\napp_id = 'wx00000000000000aa'\n"
SECRET = CANARY.keep("made up for the files of secrets")


@pytest.mark.parametrize(
    ("config", "modes", "warned"),
    [
        (f"{APP}app_secret_file = 'secret'", {"secret": 0o600, "wxauth.toml": 0o644}, []),
        (f"{APP}app_secret_file = 'secret'", {"secret": 0o640}, [("secret", "0640")]),
        (
            f"{APP}app_secret_file = 'secret'\n{OTHER_APP}app_secret_file = 'secret'",
            {"secret": 0o444},
            [("secret", "0444")],
        ),
        (f"{APP}app_secret = '{SECRET}'", {"wxauth.toml": 0o600}, []),
        (f"{APP}app_secret = '{SECRET}'", {"wxauth.toml": 0o604}, [("wxauth.toml", "0604")]),
        ("", {"wxauth.toml": 0o644}, []),
    ],
    ids=["private", "secret", "twice", "private-inline", "inline", "without"],
)
def test_a_secret_that_others_can_read_is_warned_of(
    data: Path, config: str, modes: dict[str, int], warned: list[tuple[str, str]]
) -> None:
    (data / "wxauth.toml").write_text(config)
    (data / "secret").write_text(SECRET)
    for name, mode in modes.items():
        (data / name).chmod(mode)
    with running("serve", "--grpc", ANY_PORT, cwd=data) as server:
        ready(server)
        lines = [json.loads(line) for line in server.err]
    told = [line for line in lines if "with an AppSecret" in line["event"]]
    assert [(line["file"], line["mode"]) for line in told] == warned
    assert all(line["level"] == "warning" and "chmod 600" in line["event"] for line in told)


def test_a_configuration_named_by_a_variable_is_looked_at_too(data: Path) -> None:
    (data / "named.toml").write_text(f"{APP}app_secret = '{SECRET}'")
    (data / "named.toml").chmod(0o644)
    variables = {"WXAUTH_CONFIG": "named.toml"}
    with running("serve", "--grpc", ANY_PORT, cwd=data, variables=variables) as server:
        assert '"file": "named.toml", "mode": "0644"' in server.wait_for("with an AppSecret")


def test_a_second_signal_ends_the_server_at_once(tmp_path: Path) -> None:
    variables = {"WXAUTH_GRPC__LAME_DUCK_S": "60"}
    with running("serve", "--grpc", ANY_PORT, cwd=tmp_path, variables=variables) as server:
        ready(server)
        server.send(signal.SIGINT)
        server.wait_for("stopping")
        server.send(signal.SIGINT)
        assert server.wait() == 128 + signal.SIGINT
        assert "Traceback" not in server.said()


@pytest.mark.parametrize(
    ("command", "option"), [("serve", "--grpc"), ("gateway", "--http"), ("sandbox", "--listen")]
)
def test_a_port_in_use(tmp_path: Path, command: str, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        refused(wxauth(command, option, busy, cwd=tmp_path), busy)


def test_apps_need_a_ring_that_was_made_on_purpose(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text(
        "[[apps]]\napp_id = 'wx0123456789abcdef'\napp_secret = 'made up for a test'"
    )
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=tmp_path), "run wxauth keys init")
    assert [path.name for path in tmp_path.iterdir()] == ["wxauth.toml"]


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for command in (("serve", "--grpc", ANY_PORT), ("keys", "init")):
        refused(wxauth(*command, "--data", "file/sub", cwd=tmp_path), "file/sub")
    refused(wxauth("accounts", "list", "--data", "file/sub", cwd=tmp_path), "file/sub")
    assert (tmp_path / "file").read_text() == ""


def test_a_data_directory_that_is_not_ours_to_write(data: Path) -> None:
    prefix: list[str] = []
    if os.geteuid() == 0:  # to whom nothing is forbidden, but for what is given up
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("as root this needs setpriv: install util-linux")
        prefix = [setpriv, "--bounding-set=-dac_override,-dac_read_search"]
    directory = data / ".wxauth"
    directory.chmod(0o500)
    try:
        for command in (("serve", "--grpc", ANY_PORT), ("accounts", "list")):
            refused(wxauth(*command, cwd=data, prefix=prefix), "not writable")
    finally:
        directory.chmod(0o700)


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


def test_the_sandbox_plays_for_the_apps_it_is_given(tmp_path: Path) -> None:
    arguments = ("--listen", ANY_PORT, "--app", "wx1:one", "--app", "wx2:two:2")
    with running("sandbox", *arguments, cwd=tmp_path) as sandbox:
        base = "http://" + ready(sandbox)
        for app_id, secret in (("wx1", "one"), ("wx2", "two:2")):
            query = {"appid": app_id, "secret": secret, "js_code": "x"}
            query["grant_type"] = "authorization_code"
            answer = requests.get(base + "/sns/jscode2session", params=query, timeout=10)
            assert answer.json()["errcode"] == 40029  # it knows the app, not the code
        assert sandbox.stop() == 0


# --- Three processes, and the commands beside them ---------------------------


def test_commands_work_beside_a_running_server(data: Path) -> None:
    (data / "wxauth.toml").write_text(
        f"""
        [grpc]
        lame_duck_s = 0
        [[apps]]
        app_id = "{DEMO_APP_ID}"
        app_secret = "made up for this test"
        """
    )
    with ExitStack() as stack:
        sandbox = stack.enter_context(running("sandbox", "--listen", ANY_PORT, cwd=data))
        wechat = "http://" + ready(sandbox)
        server = stack.enter_context(
            running(
                "serve", "--grpc", ANY_PORT, cwd=data,
                variables=CHEAP | {"WXAUTH_WECHAT__BASE_URL": wechat},
            )
        )  # fmt: skip
        arguments = ("--http", ANY_PORT, "--server", ready(server))
        gateway = stack.enter_context(running("gateway", *arguments, cwd=data))
        base = "http://" + ready(gateway)

        def log_in(password: str) -> requests.Response:
            body = {"appid": DEMO_APP_ID, "user": "alice"}
            code = requests.post(wechat + "/_control/codes", json=body, timeout=10).json()["code"]
            login = {"code": code, "username": "zhangsan", "password": password}
            return requests.post(base + "/login", json=login, timeout=10)

        def ended(session_id: str) -> str:
            headers = {"Authorization": f"Bearer {session_id}"}
            answer = requests.get(base + "/session", headers=headers, timeout=10).json()
            return str(answer["error"]["metadata"]["cause"])

        first = CANARY.keep(log_in(PASSWORD).json()["sessionId"])
        [binding] = listed("bindings", "list", cwd=data)
        assert binding["account"] == {"source": "local", "id": "1"}
        assert binding["app_id"] == DEMO_APP_ID
        [session] = listed("sessions", "list", cwd=data)
        assert (session["state"], session["account"]["username"]) == ("live", "zhangsan")
        assert session["openid"] == binding["openid"]
        assert binding["openid"] in done_well(wxauth("bindings", "list", cwd=data))

        set_password = ("accounts", "set-password", "--id", "1", "--password-stdin")
        changed = wxauth(*set_password, cwd=data, stdin="another one\n", variables=CHEAP)
        assert "1 session ended" in done_well(changed)
        assert ended(first) == "PASSWORD_CHANGED"
        assert log_in(PASSWORD).json()["error"]["reason"] == "CREDENTIALS_INVALID"

        second = CANARY.keep(log_in("another one").json()["sessionId"])
        done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
        assert ended(second) == "ACCOUNT_DISABLED"
        assert log_in("another one").status_code == 401

        done_well(wxauth("accounts", "enable", "zhangsan", cwd=data))
        assert log_in("another one").status_code == 200
        states = [(row["state"], row["detail"]) for row in listed("sessions", "list", cwd=data)]
        assert states == [
            ("live", None),
            ("ended", "ACCOUNT_DISABLED"),
            ("ended", "PASSWORD_CHANGED"),
        ]
        table = done_well(wxauth("sessions", "list", "--limit", "1", cwd=data))
        assert "live" in table
        assert "There are more" in table
        assert "ended" not in table

        for command in (gateway, server, sandbox):
            assert command.stop() == 0
            assert "Traceback" not in command.said()


def test_a_session_past_its_limit_is_listed_as_expired(data: Path) -> None:
    database = sqlite3.connect(data / ".wxauth" / "wxauth.db")
    columns = "digest, handle, app_id, openid, account_source, account_id, login_at, last_seen_at"
    for number, app_id in ((1, DEMO_APP_ID), (2, "wx9999999999999999")):
        database.execute(
            f"INSERT INTO sessions ({columns}) VALUES (?, ?, ?, 'o', 'local', '1', ?, ?)",
            (bytes([number]), f"handle{number}", app_id, number, number),
        )
    database.commit()
    database.close()

    rows = listed("sessions", "list", cwd=data)

    assert [(row["handle"], row["state"], row["detail"]) for row in rows] == [
        ("handle2", "unserved", "mini-program not configured"),
        ("handle1", "expired", "idle"),
    ]
    assert rows[1]["login_at"] == "1970-01-01T00:00:00.001Z"

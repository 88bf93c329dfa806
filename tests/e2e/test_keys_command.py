"""`wxauth keys`, as a process of its own: rings, rotations and what they leave running."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests

from tests.canary import CANARY
from tests.running_server import TEST_COST
from tests.wxauth_command import (
    PATIENCE_S,
    WXAUTH,
    RunningCommand,
    done_well,
    environment,
    listed,
    ready,
    refused,
    running,
    wxauth,
)
from wxauth.v1.auth_service_pb2 import LoginRequest, ValidateSessionRequest
from wxauth.v1.auth_service_pb2_grpc import AuthServiceStub
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.keyring import Purpose, load_keyring
from wxauth_server.sealing import Content, Sealed, Sealer
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sqlite import SQLiteStore

ANY_PORT = "127.0.0.1:0"
CHEAP = {"WXAUTH_PASSWORDS__BCRYPT_COST": str(TEST_COST)}
PASSWORD = CANARY.keep("a password of the key tests")
SESSION_KEY = CANARY.keep("a2V5IGNvbW1hbmQgdGVzdHM=")
ADD = ("accounts", "add", "--password-stdin")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A working directory with a configured mini-program, a ring and the account zhangsan."""
    (tmp_path / "wxauth.toml").write_text(
        f"""
        [grpc]
        lame_duck_s = 0
        [[apps]]
        app_id = "{DEMO_APP_ID}"
        app_secret = "made up for this test"
        """
    )
    done_well(wxauth("keys", "init", cwd=tmp_path))
    add_account(tmp_path, "zhangsan")
    return tmp_path


def add_account(cwd: Path, username: str) -> None:
    done_well(wxauth(*ADD, username, cwd=cwd, stdin=PASSWORD, variables=CHEAP))


def ring_file(cwd: Path) -> Path:
    return cwd / ".wxauth" / "keyring.json"


def content(cwd: Path) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = json.loads(ring_file(cwd).read_text())["keys"]
    return keys


def id_of(cwd: Path, purpose: str, state: str = "active") -> str:
    """The id of the one key of a purpose in a state."""
    [found] = [
        key["id"] for key in content(cwd) if (key["purpose"], key["state"]) == (purpose, state)
    ]
    return found


def make_old_ring(cwd: Path) -> None:
    """The ring as the version before sealing wrote it."""
    document = json.loads(ring_file(cwd).read_text())
    document["keys"] = [key for key in document["keys"] if key["purpose"] != "seal"]
    ring_file(cwd).write_text(json.dumps(document))


@contextmanager
def opened(cwd: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(cwd / ".wxauth")
    try:
        yield store
    finally:
        store.close()


def seal_for_everybody(cwd: Path) -> None:
    """Store SESSION_KEY on every binding, as a login does that knows the ring as it is."""
    sealer = Sealer(load_keyring(ring_file(cwd)))

    def write(tx: Transaction) -> None:
        for app_id, openid in tx.execute("SELECT app_id, openid FROM bindings"):
            sealed = sealer.seal(
                Content.SESSION_KEY, app_id=app_id, openid=openid, plaintext=SESSION_KEY
            )
            tx.execute(
                "UPDATE bindings SET session_key = :ciphertext, session_key_id = :key_id"
                " WHERE app_id = :app_id AND openid = :openid",
                sealed._asdict() | {"app_id": app_id, "openid": openid},
            )

    with opened(cwd) as store:
        store.write(write)


def open_everybodys(cwd: Path) -> list[str]:
    """The key ids of the session_keys, after each of them has opened."""
    sealer = Sealer(load_keyring(ring_file(cwd)))
    with opened(cwd) as store:
        rows = store.read(
            lambda tx: tx.execute(
                "SELECT app_id, openid, session_key_id, session_key FROM bindings"
                " WHERE session_key IS NOT NULL"
            )
        )
    for app_id, openid, *sealed in rows:
        text = sealer.open(
            Content.SESSION_KEY, app_id=app_id, openid=openid, sealed=Sealed(*sealed)
        )
        assert text == SESSION_KEY
    return [key_id for _, _, key_id, _ in rows]


# --- Making and listing -------------------------------------------------------


def test_keys_are_made_once(tmp_path: Path) -> None:
    said = done_well(wxauth("keys", "init", "--data", "here", cwd=tmp_path))
    file = tmp_path / "here" / "keyring.json"
    assert "keyring.json" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = file.read_bytes()

    refused(wxauth("keys", "init", "--data", "here", cwd=tmp_path), "exists already")
    assert file.read_bytes() == made


def test_keys_are_listed_without_their_secrets(tmp_path: Path) -> None:
    done_well(wxauth("keys", "init", cwd=tmp_path))
    ring = json.loads((tmp_path / ".wxauth" / "keyring.json").read_text())

    said = done_well(wxauth("keys", "list", cwd=tmp_path))

    for key in ring["keys"]:
        assert key["id"] in said
        assert key["secret"] not in said
    assert said.count("active") == 3


def test_no_second_ring_for_a_database_that_needs_the_first(data: Path) -> None:
    ring = data / ".wxauth" / "keyring.json"
    pepper = next(
        key["id"] for key in json.loads(ring.read_text())["keys"] if key["purpose"] == "pepper"
    )
    ring.unlink()

    refused(wxauth("keys", "init", cwd=data), pepper, "put back the key ring")
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "keyring.json does not exist")
    assert not ring.exists()


def test_a_new_ring_for_a_database_that_needs_none(tmp_path: Path) -> None:
    done_well(wxauth("keys", "init", cwd=tmp_path))
    done_well(wxauth("accounts", "add", "zhangsan", "--no-password", cwd=tmp_path))
    (tmp_path / ".wxauth" / "keyring.json").unlink()
    done_well(wxauth("keys", "init", cwd=tmp_path))


def test_a_ring_elsewhere_leaves_a_data_directory_to_begin_with(tmp_path: Path) -> None:
    (tmp_path / "wxauth.toml").write_text("[keyring]\nfile = 'elsewhere/ring.json'")
    done_well(wxauth("keys", "init", cwd=tmp_path))
    done_well(wxauth("accounts", "add", "zhangsan", "--no-password", cwd=tmp_path))
    assert [row["username"] for row in listed("accounts", "list", cwd=tmp_path)] == ["zhangsan"]


def test_no_second_ring_for_a_database_with_sealed_rows(data: Path) -> None:
    """Of an account without a password: only what is sealed needs the ring."""
    with opened(data) as store:
        store.write(lambda tx: tx.execute("UPDATE accounts SET password = NULL"))
        store.write(
            lambda tx: tx.execute(
                "INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive,"
                " bound_at) SELECT 'wx1', 'o1', source, id, 1, 1 FROM accounts"
            )
        )
    seal_for_everybody(data)
    seal = id_of(data, "seal")
    ring_file(data).unlink()
    refused(wxauth("keys", "init", cwd=data), f"{seal} (seal)", "put back the key ring")
    assert not ring_file(data).exists()


def test_keys_are_listed_with_the_rows_that_need_them(data: Path) -> None:
    def rows() -> list[tuple[str, str, str, int | None]]:
        return [
            (key["purpose"], key["id"], key["state"], key["rows"])
            for key in listed("keys", "list", cwd=data)
        ]

    before = rows()
    assert [(purpose, state, count) for purpose, _, state, count in before] == [
        ("pepper", "active", 1),
        ("seal", "active", 0),
        ("digest", "active", 0),
    ]
    lost = id_of(data, "pepper")
    document = json.loads(ring_file(data).read_text())
    document["keys"] = [key for key in document["keys"] if key["id"] != lost]
    ring_file(data).write_text(json.dumps(document))
    assert rows()[-1] == ("pepper", lost, "missing", 1)
    assert "missing" in done_well(wxauth("keys", "list", cwd=data))


def test_a_key_that_only_a_row_names_is_listed(data: Path) -> None:
    """Somebody changed the row by hand: no start notices, so this command does."""
    with opened(data) as store:
        store.write(
            lambda tx: tx.execute(
                "INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive,"
                " bound_at) SELECT 'wx1', 'o1', source, id, 1, 1 FROM accounts"
            )
        )
    seal_for_everybody(data)
    with opened(data) as store:
        store.write(lambda tx: tx.execute("UPDATE bindings SET session_key_id = 'seal-00000000'"))
    [missing] = [key for key in listed("keys", "list", cwd=data) if key["state"] == "missing"]
    assert (missing["purpose"], missing["id"]) == ("seal", "seal-00000000")
    assert missing["rows"] > 0


@pytest.mark.parametrize("command", ["init", "add", "activate", "retire", "list"])
def test_each_help_tells_the_order_of_a_rotation(tmp_path: Path, command: str) -> None:
    said = " ".join(done_well(wxauth("keys", command, "-h", cwd=tmp_path)).split())
    steps = ["keys add PURPOSE", "copy the key ring to", "keys activate ID", "keys retire ID"]
    places = [said.index(step) for step in steps]
    assert places == sorted(places)


# --- Adding and activating ----------------------------------------------------


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_key_is_added_and_activated(data: Path, purpose: Purpose) -> None:
    former = id_of(data, purpose)
    said = done_well(wxauth("keys", "add", purpose, cwd=data))
    new = id_of(data, purpose, "new")
    assert f"wxauth keys activate {new}" in said
    assert id_of(data, purpose) == former
    assert not any(key["secret"] in said for key in content(data))

    said = done_well(wxauth("keys", "activate", new, cwd=data))
    assert f"wxauth keys retire {former}" in said
    assert (id_of(data, purpose), id_of(data, purpose, "old")) == (new, former)
    assert "already" in done_well(wxauth("keys", "activate", new, cwd=data))
    assert stat.S_IMODE(ring_file(data).stat().st_mode) == 0o600


def test_a_key_can_be_active_at_once(data: Path) -> None:
    former = id_of(data, "seal")
    said = done_well(wxauth("keys", "add", "seal", "--activate", cwd=data))
    assert id_of(data, "seal") in said
    assert id_of(data, "seal", "old") == former


@pytest.mark.parametrize("command", ["activate", "retire"])
def test_a_key_that_is_not_there(data: Path, command: str) -> None:
    before = ring_file(data).read_bytes()
    refused(wxauth("keys", command, "seal-mistyped", cwd=data), "no key 'seal-mistyped'")
    assert ring_file(data).read_bytes() == before


@pytest.mark.parametrize(
    "arguments", [("add", "seal"), ("activate", "x"), ("retire", "x")], ids=" ".join
)
def test_a_ring_that_is_not_there(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    refused(wxauth("keys", *arguments, cwd=tmp_path), "keyring.json does not exist", "keys init")
    assert list(tmp_path.iterdir()) == []


def test_two_adds_at_once_both_hold(tmp_path: Path) -> None:
    done_well(wxauth("keys", "init", cwd=tmp_path))
    with ThreadPoolExecutor(4) as threads:
        adds = [threads.submit(wxauth, "keys", "add", "seal", cwd=tmp_path) for _ in range(4)]
        done = [add.result() for add in adds]
    assert [each.returncode for each in done] == [0] * 4
    said = [each.stdout for each in done]
    added = [key["id"] for key in content(tmp_path) if key["state"] == "new"]
    assert len(added) == 4
    assert all(sum(key_id in each for each in said) == 1 for key_id in added)
    assert os.listdir(tmp_path / ".wxauth") == ["keyring.json"]


# --- A ring of the version before sealing -------------------------------------


def test_a_ring_without_a_seal_key_is_mended_by_what_the_refusal_says(data: Path) -> None:
    make_old_ring(data)
    with opened(data) as store:
        store.write(lambda tx: tx.execute("DELETE FROM keys_in_use WHERE purpose = 'seal'"))
    assert len(listed("keys", "list", cwd=data)) == 2
    command = "wxauth keys add seal --activate"
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=data), "keyring.json", command)
    refused(wxauth("accounts", "disable", "zhangsan", cwd=data), command)

    done_well(wxauth(*command.split()[1:], cwd=data))
    done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
    with running("serve", "--grpc", ANY_PORT, cwd=data) as server:
        ready(server)
        assert server.stop() == 0


def test_wxauth_dev_adds_what_the_ring_lacks(tmp_path: Path) -> None:
    done_well(wxauth("keys", "init", cwd=tmp_path))
    make_old_ring(tmp_path)
    before = content(tmp_path)
    ports = ("--sandbox", ANY_PORT, "--grpc", ANY_PORT, "--http", ANY_PORT)
    with running("dev", *ports, cwd=tmp_path, variables=CHEAP) as command:
        command.wait_for("Ctrl-C stops everything.")
        assert "a key was added to the key ring" in command.wait_for("key_id")
        assert command.stop() == 0
    after = content(tmp_path)
    assert after[:2] == before
    assert [(key["purpose"], key["state"]) for key in after[2:]] == [("seal", "active")]


# --- Retiring -----------------------------------------------------------------


def test_what_cannot_be_retired_yet(data: Path) -> None:
    pepper = id_of(data, "pepper")
    refused(wxauth("keys", "retire", pepper, cwd=data), "active pepper key", "activate it first")
    done_well(wxauth("keys", "add", "pepper", "--activate", cwd=data))
    refused(wxauth("keys", "retire", pepper, cwd=data), "restart it first")
    add_account(data, "lisi")  # takes the new ring into use
    before = ring_file(data).read_bytes()
    refused(wxauth("keys", "retire", pepper, cwd=data), "passwords of 1 account", "set-password")
    assert ring_file(data).read_bytes() == before

    set_password = ("accounts", "set-password", "zhangsan", "--password-stdin")
    done_well(wxauth(*set_password, cwd=data, stdin=PASSWORD, variables=CHEAP))
    done_well(wxauth("keys", "retire", pepper, cwd=data))
    assert pepper not in [key["id"] for key in content(data)]
    done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))


def test_nothing_is_retired_without_its_database(data: Path) -> None:
    """A mistyped directory holds no rows that need the key."""
    seal = id_of(data, "seal")
    done_well(wxauth("keys", "add", "seal", "--activate", cwd=data))
    config = data / "elsewhere.toml"
    config.write_text(f"[keyring]\nfile = '{ring_file(data)}'")
    retire = ("keys", "retire", seal, "--config", config)
    refused(wxauth(*retire, "--data", "mistyped", cwd=data), "mistyped holds no wxauth database")
    done_well(wxauth("keys", "init", "--data", "other", cwd=data))
    done_well(wxauth("accounts", "add", "x", "--no-password", "--data", "other", cwd=data))
    said = refused(wxauth(*retire, "--data", "other", cwd=data), "put back the key ring")
    assert "which the key ring lacks" in said
    assert id_of(data, "seal", "old") == seal


def test_a_digest_key_is_retired(data: Path) -> None:
    digest = id_of(data, "digest")
    done_well(wxauth("keys", "add", "digest", "--activate", cwd=data))
    done_well(wxauth("keys", "retire", digest, cwd=data))
    assert len(content(data)) == 3


def test_a_long_retiring_shows_how_far_it_is(data: Path) -> None:
    def write(tx: Transaction) -> None:
        for number in range(1_200):
            tx.execute(
                "INSERT INTO bindings (app_id, openid, account_source, account_id, exclusive,"
                " bound_at) SELECT 'wx1', :openid, source, id, 0, 1 FROM accounts",
                {"openid": f"o{number}"},
            )

    with opened(data) as store:
        store.write(write)
    seal_for_everybody(data)
    former = id_of(data, "seal")
    done_well(wxauth("keys", "add", "seal", "--activate", cwd=data))
    add_account(data, "lisi")
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*WXAUTH, "keys", "retire", former],
        cwd=data,
        env=environment({"TERM": "xterm"}),
        stdout=subprocess.PIPE,
        stderr=its,
    ) as process:
        assert process.stdout is not None
        os.close(its)
        shown = b""
        try:
            while more := os.read(ours, 4_096):
                shown += more
        except OSError:  # how Linux says that nobody has the terminal open any more
            pass
        os.close(ours)
        out = process.stdout.read().decode()
        assert process.wait(PATIENCE_S) == 0
    assert "Sealing session_keys anew" in shown.decode()
    assert "1200 session_keys were sealed anew" in out
    assert open_everybodys(data) == [id_of(data, "seal")] * 1_200


# --- A rotation under a service that runs -------------------------------------


def test_a_rotation_ends_no_session_and_loses_no_session_key(data: Path) -> None:
    with running("sandbox", "--listen", ANY_PORT, cwd=data) as sandbox:
        wechat = "http://" + ready(sandbox)

        @contextmanager
        def serving() -> Iterator[AuthServiceStub]:
            variables = CHEAP | {"WXAUTH_WECHAT__BASE_URL": wechat}
            with running("serve", "--grpc", ANY_PORT, cwd=data, variables=variables) as server:
                with grpc.insecure_channel(ready(server)) as channel:
                    yield AuthServiceStub(channel)
                assert server.stop() == 0
                assert "error" not in levels(server)

        def log_in(stub: AuthServiceStub, username: str = "", password: str = "") -> str:
            body = {"appid": DEMO_APP_ID, "user": "alice"}
            code = requests.post(wechat + "/_control/codes", json=body, timeout=10).json()["code"]
            CANARY.keep(code)
            answer = stub.Login(
                LoginRequest(code=code, username=username, password=password), timeout=10
            )
            return CANARY.keep(answer.session_id)

        def check(stub: AuthServiceStub) -> None:
            for session_id in sessions:
                request = ValidateSessionRequest(session_id=session_id)
                assert stub.ValidateSession(request, timeout=10).account.username == "zhangsan"

        former = id_of(data, "seal")
        with serving() as stub:
            sessions = [log_in(stub, "zhangsan", PASSWORD)]
            check(stub)
            seal_for_everybody(data)
            done_well(wxauth("keys", "add", "seal", cwd=data))
            new = id_of(data, "seal", "new")
            done_well(wxauth("keys", "activate", new, cwd=data))
            check(stub)
            refused(wxauth("keys", "retire", former, cwd=data), "restart it first")
            assert open_everybodys(data) == [former]
        with serving() as stub:
            check(stub)
            assert open_everybodys(data) == [former]
            done_well(wxauth("keys", "retire", former, cwd=data))
            assert open_everybodys(data) == [new]
            check(stub)
        assert former not in [key["id"] for key in content(data)]
        with serving() as stub:
            check(stub)
            assert open_everybodys(data) == [new]
            sessions.append(log_in(stub))
            check(stub)
        with opened(data) as store:
            ids = store.read(lambda tx: tx.execute("SELECT session_key_id FROM bindings"))
        assert ids == [(new,)]
        assert sandbox.stop() == 0


def levels(server: RunningCommand) -> set[Any]:
    return {json.loads(line)["level"] for line in server.err}


def test_a_key_whose_secret_was_changed_is_named(data: Path) -> None:
    document = json.loads(ring_file(data).read_text())
    [seal] = [key for key in document["keys"] if key["purpose"] == "seal"]
    [digest] = [key for key in document["keys"] if key["purpose"] == "digest"]
    seal["secret"] = digest["secret"]
    ring_file(data).write_text(json.dumps(document))
    refused(
        wxauth("serve", "--grpc", ANY_PORT, cwd=data),
        f"the seal key {seal['id']}",
        "another secret",
        "put back the key ring",
    )

"""The session_key from its first day to its last: sealed, the newest, and gone with the sessions.

design.md section 5. What is done with it is in test_user_data.py.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from tests.canary import CANARY
from tests.rpc.busy_server import held_writer
from tests.rpc.conftest import MALL, SHOP, Serve, app_of
from tests.running_server import FakeClock, RunningServer, refused
from tests.sandbox_server import RunningSandbox
from wxauth.v1 import auth_service_pb2, wechat_service_pb2
from wxauth.v1.auth_service_pb2 import LogoutRequest, UnbindRequest
from wxauth.v1.wechat_service_pb2 import DecryptUserDataRequest, ResetSessionKeyRequest
from wxauth_server.accounts.manage import NewPassword
from wxauth_server.config import DEMO_APP_ID
from wxauth_server.keyring import Purpose, load_keyring
from wxauth_server.sealing import Content, Sealed, Sealer
from wxauth_server.store.sqlite import DATABASE_NAME

PASSWORD = "correct horse battery"


def stored(server: RunningServer) -> list[tuple[bytes | None, str | None]]:
    """The sealed session_keys and the ids of their keys, in the order of the bindings."""
    rows = server.rows("SELECT session_key, session_key_id FROM bindings ORDER BY rowid")
    return [(session_key, key_id) for session_key, key_id in rows]


def opened(server: RunningServer) -> str:
    """The session_key of the only binding, as its key opens it; a secret from then on."""
    [(openid, ciphertext, key_id)] = server.rows(
        "SELECT openid, session_key, session_key_id FROM bindings"
    )
    sealer = Sealer(load_keyring(server.configuration.keyring_file))
    sealed = Sealed(key_id, ciphertext)
    return CANARY.keep(
        sealer.open(Content.SESSION_KEY, app_id=DEMO_APP_ID, openid=openid, sealed=sealed)
    )


def decrypt(server: RunningServer, user: str, session_id: str) -> str:
    """What the phone has just got, opened by the server."""
    got = server.sandbox.user_data(DEMO_APP_ID, user)
    request = DecryptUserDataRequest(
        session_id=session_id, encrypted_data=got["encryptedData"], iv=got["iv"]
    )
    return server.wechat.DecryptUserData(request, timeout=10).data


def log_in(server: RunningServer, user: str) -> str:
    return server.login(code=server.code(user)).session_id


# --- On the binding ------------------------------------------------------------


def test_it_is_sealed_on_the_binding(server: RunningServer) -> None:
    """With the active key of the ring; in the files it is neither as text nor as bytes."""
    server.bound()
    [(ciphertext, key_id)] = stored(server)
    ring = load_keyring(server.configuration.keyring_file)
    assert key_id == ring.active(Purpose.SEAL).id
    key = opened(server)
    raw = base64.b64decode(key, validate=True)
    assert len(raw) == 16
    files = sorted(server.configuration.store.directory.glob(f"{DATABASE_NAME}*"))
    content = b"".join(path.read_bytes() for path in files)
    assert ciphertext is not None
    assert ciphertext in content, "the search finds what is there"
    for secret in (key.encode(), raw, raw.hex().encode()):
        assert secret not in content


def test_a_silent_login_keeps_the_newest(server: RunningServer) -> None:
    """WeChat accepts one only: what the phone gets after it opens, in every session."""
    user = server.bound()
    former = opened(server)
    first = log_in(server, user)
    assert opened(server) != former
    second = log_in(server, user)
    for session_id in (first, second):
        assert user in decrypt(server, user, session_id)


def test_a_password_login_keeps_the_newest(server: RunningServer) -> None:
    user = server.bound("zhangsan", PASSWORD)
    session_id = server.login(
        code=server.code(user), username="zhangsan", password=PASSWORD
    ).session_id
    assert user in decrypt(server, user, session_id)


def test_a_retry_keeps_what_the_first_attempt_got(server: RunningServer) -> None:
    """It lies on the exchange until the login is over, and moves to the binding as it is."""
    user = server.bound()
    request = {"code": server.code(user), "request_id": server.new_request_id()}
    session_id = server.login(**request).session_id
    kept = stored(server)
    assert server.login(**request).session_id == session_id
    assert stored(server) == kept
    assert user in decrypt(server, user, session_id)


def test_a_late_retry_does_not_bring_back_an_older_one(server: RunningServer) -> None:
    """wechat-api.md section 2: the newest is the one to keep, whenever its login ends."""
    user = server.bound()
    older = {"code": server.code(user), "request_id": server.new_request_id()}
    with held_writer(server):
        refused(server.login, **older)
    newer = log_in(server, user)
    server.login(**older)
    assert user in decrypt(server, user, newer)


def test_a_refused_login_of_a_bound_user_keeps_the_newest(server: RunningServer) -> None:
    """The code is spent, so WeChat has another session_key; the live session needs it."""
    user = server.bound("zhangsan", PASSWORD)
    session_id = log_in(server, user)
    code = server.code(user)
    refused(server.login, code=code, username="zhangsan", password="not it at all")
    assert user in decrypt(server, user, session_id)


# --- Erased with the last live session -----------------------------------------


def test_logout_of_the_last_session(server: RunningServer) -> None:
    """Not of an earlier one: the others go on with it."""
    user = server.new_user()
    server.add_account("zhangsan", PASSWORD)
    pair = {"username": "zhangsan", "password": PASSWORD}
    first = server.login(code=server.code(user), **pair).session_id
    second = log_in(server, user)
    server.stub.Logout(LogoutRequest(session_id=first), timeout=10)
    assert user in decrypt(server, user, second)
    server.stub.Logout(LogoutRequest(session_id=second), timeout=10)
    assert stored(server) == [(None, None)]
    # The binding is still there, and the next login brings another one.
    assert user in decrypt(server, user, log_in(server, user))


def test_logout_of_the_last_live_session(serve: Serve, clock: FakeClock) -> None:
    """One that is past its limit does not keep it."""
    server = serve(session_idle_s=60)
    user = server.bound()
    clock.ms += 60_000
    session_id = log_in(server, user)
    server.stub.Logout(LogoutRequest(session_id=session_id), timeout=10)
    assert stored(server) == [(None, None)]


def unbind(server: RunningServer, user: str, session_id: str) -> None:
    request = UnbindRequest(session_id=session_id, code=server.code(user))
    server.stub.Unbind(request, timeout=10)


def disable(server: RunningServer, user: str, session_id: str) -> None:
    server.accounts.disable("id-zhangsan")


def change_password(server: RunningServer, user: str, session_id: str) -> None:
    server.accounts.set_password("id-zhangsan", NewPassword(CANARY.keep("another horse battery")))


@pytest.mark.parametrize("end", [unbind, disable, change_password])
def test_what_ends_every_session_erases_it(
    server: RunningServer, end: Callable[[RunningServer, str, str], None]
) -> None:
    """At once; a bystander keeps his."""
    bystander = server.bound("lisi", PASSWORD)
    theirs = log_in(server, bystander)
    user = server.bound("zhangsan", PASSWORD)
    end(server, user, log_in(server, user))
    assert server.rows(
        "SELECT COUNT(*) FROM bindings WHERE account_id = 'id-zhangsan' AND session_key IS NOT NULL"
    ) == [(0,)]
    assert bystander in decrypt(server, bystander, theirs)


@pytest.mark.parametrize("limit", ["idle", "absolute"])
def test_the_eraser_finds_it_when_the_last_session_expires(
    serve: Serve, clock: FakeClock, limit: str
) -> None:
    """To the millisecond."""
    idle_s, absolute_s = (60, 600) if limit == "idle" else (60, 60)
    server = serve(session_idle_s=idle_s, session_absolute_s=absolute_s)
    server.bound()
    clock.ms += 59_999
    server.erase()
    assert stored(server)[0][0]
    clock.ms += 1
    server.erase()
    assert stored(server) == [(None, None)]


def test_the_eraser_leaves_a_session_in_use_alone(serve: Serve, clock: FakeClock) -> None:
    server = serve(session_idle_s=60, session_absolute_s=600)
    user = server.bound()
    session_id = log_in(server, user)
    for _ in range(3):
        clock.ms += 59_000
        server.validate(session_id)
        server.flush()
        server.erase()
    assert user in decrypt(server, user, session_id)


def test_the_eraser_goes_by_the_limits_of_each_app(
    serve: Serve, clock: FakeClock, wechat_of_three: RunningSandbox
) -> None:
    server = serve(
        apps=[app_of(SHOP, session_idle_s=60), app_of(MALL, session_idle_s=120)],
        wechat=wechat_of_three,
    )
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    for app in (SHOP, MALL):
        code = server.code(user, app.app_id)
        server.login(app_id=app.app_id, code=code, username="zhangsan", password=PASSWORD)
    kept = []
    for _ in range(2):
        clock.ms += 60_000
        server.erase()
        kept.append(server.rows("SELECT app_id FROM bindings WHERE session_key IS NOT NULL"))
    assert kept == [[(MALL.app_id,)], []]


# --- It never leaves the server ------------------------------------------------


def fields_of(message: Descriptor) -> list[str]:
    nested = [name for inner in message.nested_types for name in fields_of(inner)]
    return [field.full_name for field in message.fields] + nested


def test_no_message_has_a_field_for_it() -> None:
    found = [
        name
        for file in (auth_service_pb2.DESCRIPTOR, wechat_service_pb2.DESCRIPTOR)
        for message in file.message_types_by_name.values()
        for name in fields_of(message)
    ]
    assert "wxauth.v1.LoginResponse.session_id" in found, "the search finds what is there"
    assert "wxauth.v1.DecryptUserDataResponse.data" in found
    # "key" is what protobuf calls one half of a map's entry.
    assert {name for name in found if "key" in name.rsplit(".", 1)[1].lower()} == {
        "wxauth.v1.SessionRefusal.MetadataEntry.key"
    }


def test_no_answer_holds_it(server: RunningServer) -> None:
    """Not the bytes on the wire of any method that has to do with it."""
    server.add_account("zhangsan", PASSWORD)
    user = server.new_user()
    login = server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    got = server.sandbox.user_data(DEMO_APP_ID, user)
    data = DecryptUserDataRequest(
        session_id=login.session_id, encrypted_data=got["encryptedData"], iv=got["iv"]
    )
    key = opened(server)
    answers: list[Any] = [
        login,
        server.validate(login.session_id),
        server.wechat.DecryptUserData(data, timeout=10),
        server.wechat.ResetSessionKey(
            ResetSessionKeyRequest(session_id=login.session_id), timeout=10
        ),
    ]
    said = b"".join(answer.SerializeToString() for answer in answers)
    assert user.encode() in said, "the search finds what is there"
    for secret in (key, opened(server)):
        assert secret.encode() not in said
        assert base64.b64decode(secret) not in said


# --- Tampered with -------------------------------------------------------------


def flip_a_bit(server: RunningServer) -> None:
    [(ciphertext, _), _] = stored(server)
    assert ciphertext is not None
    change(server, session_key=ciphertext[:-1] + bytes([ciphertext[-1] ^ 1]))


def cut_short(server: RunningServer) -> None:
    [(ciphertext, _), _] = stored(server)
    assert ciphertext is not None
    change(server, session_key=ciphertext[:20])


def move_from_another_user(server: RunningServer) -> None:
    [_, (theirs, _)] = stored(server)
    change(server, session_key=theirs)


def make_it_a_text(server: RunningServer) -> None:
    change(server, session_key="x" * 60)


def name_a_key_that_is_not_there(server: RunningServer) -> None:
    change(server, session_key_id="seal-00000000")


def forget_which_key(server: RunningServer) -> None:
    change(server, session_key_id=None)


def change(server: RunningServer, **columns: Any) -> None:
    """Somebody with a hand in the database changes the first binding."""
    [(name, value)] = columns.items()
    sql = f"UPDATE bindings SET {name} = :value WHERE rowid = (SELECT MIN(rowid) FROM bindings)"
    server.store.write(lambda tx: tx.execute(sql, {"value": value}))


@pytest.mark.parametrize(
    ("tamper", "cause"),
    [
        (flip_a_bit, "changed or moved"),
        (cut_short, "cut"),
        (move_from_another_user, "changed or moved"),
        (make_it_a_text, "changed or moved"),
        (name_a_key_that_is_not_there, "the key ring lacks the key"),
        (forget_which_key, "the key ring lacks the key"),
    ],
)
def test_what_does_not_open_raises_an_alarm(
    server: RunningServer,
    caplog: pytest.LogCaptureFixture,
    tamper: Callable[[RunningServer], None],
    cause: str,
) -> None:
    """It fails closed; the session goes on, and the next login heals."""
    user, other = server.bound("zhangsan", PASSWORD), server.bound("lisi", PASSWORD)
    session_id, theirs = log_in(server, user), log_in(server, other)
    tamper(server)
    with caplog.at_level(logging.ERROR, logger="wxauth.sealing"):
        assert refused(lambda: decrypt(server, user, session_id)).reason == "SESSION_KEY_INVALID"
    [alarm] = [record for record in caplog.records if record.name == "wxauth.sealing"]
    assert alarm.levelno == logging.ERROR
    assert getattr(alarm, "cause", None) == cause
    assert getattr(alarm, "app_id", None) == DEMO_APP_ID
    session = server.validate(session_id)
    assert session.openid not in f"{vars(alarm)}"
    server.flush_refusals()
    assert server.rows(
        "SELECT event, openid, count FROM audit_events ORDER BY id DESC LIMIT 1"
    ) == [("SESSION_KEY_UNREADABLE", session.openid, 1)]
    assert other in decrypt(server, other, theirs)
    log_in(server, user)
    assert user in decrypt(server, user, session_id)

"""Login over a socket: every outcome of the contract that needs no broken WeChat."""

from __future__ import annotations

import bcrypt
import grpc
import pytest

from tests.canary import CANARY
from tests.running_server import RunningServer, refused
from wxauth_server.accounts.passwords import take_over
from wxauth_server.store.keys import keys_in_use

PASSWORD = "correct horse battery"


def test_first_login_binds_and_the_second_is_silent(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD, account_id="10001")
    user = server.new_user()
    first = server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    second = server.login(code=server.code(user))

    assert first.bound_now
    assert not second.bound_now
    assert first.session_id != second.session_id
    for answer in (first, second):
        session = server.validate(answer.session_id)
        assert (session.account.source, session.account.id) == ("local", "10001")
        assert session.account.username == "zhangsan"
        assert session.idle_expire_time == answer.idle_expire_time
        assert session.absolute_expire_time == answer.absolute_expire_time


def test_unbound_user_needs_credentials(server: RunningServer) -> None:
    refusal = refused(lambda: server.login(code=server.code(server.new_user())))
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "BINDING_REQUIRED"


def test_code_works_once(server: RunningServer) -> None:
    code = server.code(server.bound())
    server.login(code=code)
    assert refused(lambda: server.login(code=code)).reason == "CODE_USED"


def test_a_refused_password_spends_the_code(server: RunningServer) -> None:
    server.add_account("zhangsan", PASSWORD)
    code = server.code(server.new_user())
    wrong = refused(lambda: server.login(code=code, username="zhangsan", password="not it at all"))
    again = refused(lambda: server.login(code=code, username="zhangsan", password=PASSWORD))
    assert wrong.reason == "CREDENTIALS_INVALID"
    assert again.reason == "CODE_USED"


@pytest.mark.parametrize("code", ["the code is a mock one", "0" * 32, "../?x=1&secret=2"])
def test_a_code_wechat_does_not_know(server: RunningServer, code: str) -> None:
    assert refused(lambda: server.login(code=code)).reason == "CODE_INVALID"


def test_the_mock_code_never_reaches_wechat(server: RunningServer) -> None:
    before = len(server.sandbox.exchanges())
    refused(lambda: server.login(code="the code is a mock one"))
    assert len(server.sandbox.exchanges()) == before


def test_conflicts_come_only_after_the_right_password(server: RunningServer) -> None:
    server.bound("zhangsan", PASSWORD)
    other = server.bound("lisi", PASSWORD)
    new = server.new_user()

    wrong = refused(
        lambda: server.login(code=server.code(new), username="zhangsan", password="not it at all")
    )
    account = refused(
        lambda: server.login(code=server.code(new), username="zhangsan", password=PASSWORD)
    )
    openid = refused(
        lambda: server.login(code=server.code(other), username="zhangsan", password=PASSWORD)
    )

    assert wrong.reason == "CREDENTIALS_INVALID"
    assert (account.code, account.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "ACCOUNT_ALREADY_BOUND",
    )
    assert (openid.code, openid.reason) == (
        grpc.StatusCode.ALREADY_EXISTS,
        "OPENID_ALREADY_BOUND",
    )
    assert server.rows("SELECT COUNT(*) FROM bindings") == [(2,)]


def test_the_same_pair_again_is_success(server: RunningServer) -> None:
    user = server.bound("zhangsan", PASSWORD)
    again = server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    assert not again.bound_now


def test_disabled_account(server: RunningServer) -> None:
    user = server.bound("zhangsan", PASSWORD)
    server.store.write(lambda tx: tx.execute("UPDATE accounts SET disabled_at = 1"))
    silent = refused(lambda: server.login(code=server.code(user)))
    password = refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    )
    assert (silent.code, silent.reason) == (
        grpc.StatusCode.PERMISSION_DENIED,
        "ACCOUNT_DISABLED",
    )
    assert password.reason == "CREDENTIALS_INVALID"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("nobody", PASSWORD),
        ("zhangsan", "not it at all"),
        ("nopassword", PASSWORD),
        ("a\u202eb", PASSWORD),
    ],
)
def test_wrong_credentials_are_answered_alike(
    server: RunningServer, username: str, password: str
) -> None:
    server.add_account("zhangsan", PASSWORD)
    server.add_account("nopassword", None)
    refusal = refused(
        lambda: server.login(
            code=server.code(server.new_user()), username=username, password=password
        )
    )
    reference = refused(
        lambda: server.login(
            code=server.code(server.new_user()), username="zhangsan", password="never this one"
        )
    )
    assert refusal == reference


@pytest.mark.parametrize("spelling", ["ZhangSan", "zhangsan", "ＺＨＡＮＧＳＡＮ"])
def test_case_and_width_of_the_username_do_not_matter(server: RunningServer, spelling: str) -> None:
    server.add_account("ZhangSan", PASSWORD)
    answer = server.login(code=server.code(server.new_user()), username=spelling, password=PASSWORD)
    assert answer.account.username == "ZhangSan"


@pytest.mark.parametrize("length", [64, 256])
def test_long_chinese_pass_phrases_count_to_the_last_character(
    server: RunningServer, length: int
) -> None:
    phrase = "密" * (length - 1) + "码"
    server.add_account("zhangsan", phrase)
    near = phrase[:-1] + "嘛"
    refusal = refused(
        lambda: server.login(
            code=server.code(server.new_user()), username="zhangsan", password=near
        )
    )
    assert refusal.reason == "CREDENTIALS_INVALID"
    server.login(code=server.code(server.new_user()), username="zhangsan", password=phrase)


def test_a_foreign_bcrypt_hash_is_accepted_once_and_then_is_ours(server: RunningServer) -> None:
    foreign = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$")
    server.add_account("zhangsan", None, stored_hash=take_over(foreign))
    CANARY.keep(PASSWORD)
    user = server.new_user()
    server.login(code=server.code(user), username="zhangsan", password=PASSWORD)
    [(stored, version)] = server.rows("SELECT password, password_version FROM accounts")
    assert stored.startswith("bcrypt-hmac-sha256$pepper-")
    assert version == 1, "the password did not change, only its hash"
    assert [purpose for purpose, _ in server.store.read(keys_in_use)] == ["pepper", "seal"]
    server.login(code=server.code(user), username="zhangsan", password=PASSWORD)


def test_the_eleventh_login_ends_the_first(server: RunningServer) -> None:
    user = server.bound()
    logins = [server.login(code=server.code(user)).session_id for _ in range(11)]
    refusal = refused(lambda: server.validate(logins[0]))
    assert (refusal.reason, refusal.metadata) == ("SESSION_REVOKED", {"cause": "REPLACED"})
    for session_id in logins[1:]:
        server.validate(session_id)


def test_every_decision_is_in_the_audit_log(server: RunningServer) -> None:
    user = server.bound("zhangsan", PASSWORD)
    server.login(code=server.code(user))
    refused(
        lambda: server.login(code=server.code(user), username="zhangsan", password="not it at all")
    )
    refused(
        lambda: server.login(
            code=server.code(server.new_user()), username="zhangsan", password=PASSWORD
        )
    )
    events = server.rows("SELECT event, reason, account_id FROM audit_events ORDER BY id")
    assert events == [
        ("BOUND", None, "id-zhangsan"),
        ("LOGIN", None, "id-zhangsan"),
        ("LOGIN", None, "id-zhangsan"),
        ("LOGIN_REFUSED", "CREDENTIALS_INVALID", "id-zhangsan"),
        ("LOGIN_REFUSED", "ACCOUNT_ALREADY_BOUND", "id-zhangsan"),
    ]

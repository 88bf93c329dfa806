"""Promises of an `sql` account source about users: who is let in, and who is found."""

from __future__ import annotations

import base64
import hashlib
import logging

import pytest

from tests.contract.company_database import Company
from tests.contract.open_sql_source import HASH, PASSWORD, OpenedSource, OpenSource
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.errors import CredentialsInvalid

ZHANG = SourceAccount(id="10001", username="zhangsan", display_name="张三")

NAMES = (
    "张三", "🀄🐼", "o'brien", 'say"cheese"', "100%", "50%s", "under_score", "a:b", ":id", "café",
)  # fmt: skip
INJECTIONS = (
    "' OR 1=1 --", "' OR '1'='1", '" OR 1=1 --', "\\' OR 1=1 -- ", "zhangsan'; --", "%", "zhang%",
    "_", "", "zhangsan\0", "zhang\\0san", "\\", "x" * 10_000, "😀" * 64,
)  # fmt: skip


def pbkdf2(password: str) -> str:
    """As Django writes it, with few iterations."""
    key = base64.b64encode(hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt1234", 1000))
    return f"pbkdf2_sha256$1000$salt1234${key.decode()}"


class UserPromises:
    """Of every database."""

    def test_the_right_password(self, company: Company, source: OpenedSource) -> None:
        company.add(10001, "zhangsan", HASH, nick="张三")
        company.add(10002, "lisi", pbkdf2(PASSWORD))
        verified = source.verify("zhangsan")
        assert verified.account == ZHANG
        assert (verified.password_version, verified.new_hash) == (None, None)
        assert source.verify("lisi").account == SourceAccount("10002", "lisi")

    def test_who_may_not_log_in(
        self, company: Company, source: OpenedSource, hasher: PasswordHasher,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """All are told the same, and all cost one check of a hash."""
        company.add(1, "zhangsan", HASH)
        company.add(2, "locked", HASH, locked=True)
        company.add(3, "no-password", None)
        company.add(4, "empty", "")
        company.add(5, "django", "!unusable")
        company.add(6, "corrupt", "$2y$04$broken")
        checks: list[str | None] = []
        verify = hasher.verify_foreign

        def counted(foreign: str | None, password: str, *, allowed: bool = True) -> bool:
            checks.append(foreign)
            return verify(foreign, password, allowed=allowed)

        monkeypatch.setattr(hasher, "verify_foreign", counted)
        refused = {
            name: source.refusal(name)
            for name in ("nobody", "locked", "no-password", "empty", "django", "corrupt")
        }
        refused["wrong"] = source.refusal("zhangsan", "wrong horse battery")
        refused["not allowed"] = source.refusal("zhangsan", allowed=False)

        assert len(checks) == len(refused)
        assert {(type(error), str(error)) for error in refused.values()} == {
            (CredentialsInvalid, CredentialsInvalid.message)
        }
        known = {
            name: error.account
            for name, error in refused.items()
            if isinstance(error, CredentialsInvalid)
        }
        assert known.pop("nobody") is None
        assert known["wrong"] == known["not allowed"] == ("members", "1")
        assert known["corrupt"] == ("members", "6")
        assert source.verify("zhangsan").account.id == "1"

    def test_a_corrupt_hash_is_an_alarm(
        self, company: Company, source: OpenedSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        company.add(1, "corrupt", "$2y$31$" + "a" * 53)
        company.add(2, "django", "!unusable")
        company.add(3, "empty", "")
        for name in ("django", "empty"):
            assert source.refuses(name)
        assert caplog.records == []
        assert source.refuses("corrupt")
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert vars(record)["account"] == ["members", "1"]

    def test_the_owner_is_found_by_the_id(self, company: Company, source: OpenedSource) -> None:
        """Whatever name they have by now."""
        company.add(10001, "zhangsan", HASH, nick="张三")
        company.execute("UPDATE users SET login = 'zhang.san'")
        assert source.verify_owner("10001").account.username == "zhang.san"
        with pytest.raises(CredentialsInvalid):
            source.verify_owner("10001", "wrong horse battery")
        with pytest.raises(CredentialsInvalid):
            source.verify_owner("10001", allowed=False)
        with pytest.raises(CredentialsInvalid):
            source.verify_owner("10002")
        company.execute("UPDATE users SET locked = 1")
        with pytest.raises(CredentialsInvalid):
            source.verify_owner("10001")

    def test_get(self, company: Company, source: OpenedSource) -> None:
        company.add(10001, "zhangsan", HASH, nick="张三")
        company.add(10002, None, None, locked=True)
        assert source.get("10001") == ZHANG
        assert source.get("10002") == SourceAccount("10002", enabled=False)
        assert source.get("10003") is None
        assert source.get("10001\0") is None

    def test_names_arrive_as_they_are(self, company: Company, source: OpenedSource) -> None:
        for user_id, name in enumerate(NAMES):
            company.add(user_id, name, HASH)
        for user_id, name in enumerate(NAMES):
            assert source.verify(name).account == SourceAccount(str(user_id), name)

    def test_a_name_is_a_value_and_no_sql(self, company: Company, source: OpenedSource) -> None:
        company.add(1, "zhangsan", HASH)
        for name in INJECTIONS:
            assert source.refuses(name), name
        assert source.accepts("zhangsan")

    def test_a_query_may_hold_what_drivers_take_for_theirs(
        self, company: Company, open_source: OpenSource
    ) -> None:
        """Percent signs, and a colon that begins no parameter."""
        company.add(1, "zhangsan", HASH)
        source = open_source(
            verify_query="SELECT id, login AS username, pass AS hash FROM users"
            r" WHERE login = :username AND login LIKE '%s%' AND login <> ' \:x %(y)s'"
        )
        assert source.accepts("zhangsan")

    def test_names_that_cannot_be_shown_are_left_out(
        self, company: Company, source: OpenedSource
    ) -> None:
        company.add(1, "line\nfeed", HASH, nick="龙" * 86)
        company.add(2, "lisi", HASH, nick="龙" * 85)
        assert source.verify("line\nfeed").account == SourceAccount("1")
        assert source.get("2") == SourceAccount("2", "lisi", "龙" * 85)

    def test_telling_that_a_user_has_left(
        self, company: Company, source: OpenedSource, open_source: OpenSource
    ) -> None:
        company.add(1, "zhangsan", HASH)
        company.add(2, "lisi", HASH)
        for _ in range(2):  # it is safe to repeat
            source.tell_deleted("1")
        source.tell_deleted("3")
        assert company.rows("SELECT id FROM users WHERE gone = 1") == [(1,)]
        open_source(deleted_statement=None).tell_deleted("2")
        assert company.rows("SELECT id FROM users WHERE gone = 1") == [(1,)]

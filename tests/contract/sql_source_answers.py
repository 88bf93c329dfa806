"""Promises of an `sql` account source about answers that are none."""

from __future__ import annotations

import pytest

from tests.contract.company_database import BY_NAME, Company
from tests.contract.open_sql_source import HASH, OpenedSource, OpenSource, alarm, alarms
from wxauth_server.errors import AccountSourceUnavailable

NAMES = "login AS username, pass AS hash"


class AnswerPromises:
    """Of every database."""

    def test_two_rows(
        self, company: Company, source: OpenedSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whose password would it be? Neither a yes nor a no."""
        company.add(1, "zhangsan", HASH)
        company.add(2, "zhangsan", HASH)
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert alarms(caplog) == [alarm("verify_query", "bad_answer", "there are two rows or more")]
        assert "zhangsan" not in caplog.text
        assert source.get("2") is not None

    def test_a_query_that_finds_everybody(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A billion rows stay where they are: they would not arrive in time."""
        company.add(1, "a", HASH)
        company.execute(
            *(
                "INSERT INTO users (id, login, pass)"
                f" SELECT id + {1 << bit}, login, pass FROM users"
                for bit in range(10)
            )
        )
        source = open_source(
            verify_query="SELECT a.id, a.login AS username, a.pass AS hash"
            " FROM users a, users b, users c WHERE a.login = :username OR 1 = 1"
        )
        assert type(source.refusal("a")) is AccountSourceUnavailable
        assert alarms(caplog) == [alarm("verify_query", "bad_answer", "there are two rows or more")]

    @pytest.mark.parametrize(
        ("columns", "detail"),
        [
            (NAMES, "there is no column id"),
            ("id, pass AS hash", "there is no column username"),
            ("id, login AS username, pass", "there is no column hash"),
            (f"id, gone AS id, {NAMES}", "there are two columns id"),
            (
                f"id, {NAMES}, locked AS disabled, gone AS disabled",
                "there are two columns disabled",
            ),
        ],
    )
    def test_columns_that_are_not_there_once(
        self,
        columns: str,
        detail: str,
        company: Company,
        open_source: OpenSource,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It shows at the first login, whether that user is there or not."""
        company.add(1, "zhangsan", HASH)
        source = open_source(
            verify_query=f"SELECT {columns} FROM users WHERE login = :username",
            get_query=f"SELECT {columns} FROM users WHERE id = :id",
        )
        for name in ("zhangsan", "nobody"):
            assert type(source.refusal(name)) is AccountSourceUnavailable
        with pytest.raises(AccountSourceUnavailable):
            source.get("1")
        told = alarm("verify_query", "bad_answer", detail)
        assert alarms(caplog) == [told, told, alarm("get_query", "bad_answer", detail)]

    @pytest.mark.parametrize(
        ("columns", "detail"),
        [
            (f"1.5 AS id, {NAMES}", "id is neither a whole number nor text"),
            (f"NULL AS id, {NAMES}", "id is neither a whole number nor text"),
            (f"'' AS id, {NAMES}", "the id is empty"),
            (f"nick AS id, {NAMES}", "the id is longer than 128 bytes of UTF-8"),
            (f"' a' AS id, {NAMES}", "the id begins or ends with white space"),
            ("id, id AS username, pass AS hash", "username is not text"),
            ("id, login AS username, id AS hash", "hash is not text"),
            (
                f"id, {NAMES}, '0' AS disabled",
                "disabled is neither a number, a truth value nor a moment: compare it",
            ),
        ],
    )
    def test_values_that_make_no_sense(
        self,
        columns: str,
        detail: str,
        company: Company,
        open_source: OpenSource,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        company.add(1, "zhangsan", HASH, nick="a" * 129)
        source = open_source(verify_query=f"SELECT {columns} FROM users WHERE login = :username")
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert alarms(caplog) == [alarm("verify_query", "bad_answer", detail)]

    @pytest.mark.parametrize(
        ("disabled", "enabled"),
        [
            ("0", True), ("1", False), ("2", False), ("NULL", True),
            ("locked = 1", True), ("nick IS NULL", False), ("login = 'zhangsan'", False),
        ],
    )  # fmt: skip
    def test_what_disabled_may_be(
        self, disabled: str, enabled: bool, company: Company, open_source: OpenSource
    ) -> None:
        company.add(1, "zhangsan", HASH)
        source = open_source(
            get_query=f"SELECT id, {NAMES}, {disabled} AS disabled FROM users WHERE id = :id"
        )
        account = source.get("1")
        assert account is not None
        assert account.enabled is enabled

    def test_an_id_that_is_text(self, company: Company, open_source: OpenSource) -> None:
        company.add(1, "zhangsan", HASH, nick="Ab-1")
        found = f"SELECT nick AS id, {NAMES} FROM users WHERE"
        source = open_source(
            verify_query=f"{found} login = :username", get_query=f"{found} nick = :id"
        )
        assert source.verify("zhangsan").account.id == "Ab-1"
        assert source.verify_owner("Ab-1").account.id == "Ab-1"
        # Also where the database takes the one for the other.
        assert source.get("ab-1") is None

    def test_a_query_that_the_database_refuses(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is told by its code, and the other query goes on."""
        company.add(1, "zhangsan", HASH)
        source = open_source(verify_query=BY_NAME.replace("FROM users", "FROM user_table"))
        for _ in range(6):  # more than open the circuit
            assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert alarms(caplog) == 6 * [
            alarm("verify_query", "statement_refused", company.no_such_table)
        ]
        assert "user_table" not in caplog.text
        assert source.get("1") is not None

    def test_a_query_cannot_write(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Though this user of the database may."""
        company.add(1, "zhangsan", HASH)
        write = "UPDATE users SET gone = 1 WHERE login = :username"
        source = open_source(verify_query=write)
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert [told["kind"] for told in alarms(caplog)] == ["statement_refused"]
        assert company.rows("SELECT gone FROM users") == [(0,)]
        source.tell_deleted("1")
        assert company.rows("SELECT gone FROM users") == [(1,)]

    def test_telling_fails(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nobody needs it to log in: it does not open the circuit."""
        company.add(1, "zhangsan", HASH)
        source = open_source(deleted_statement="UPDATE user_table SET gone = 1 WHERE id = :id")
        for _ in range(6):
            with pytest.raises(AccountSourceUnavailable):
                source.tell_deleted("1")
        assert alarms(caplog) == 6 * [
            alarm("deleted_statement", "statement_refused", company.no_such_table)
        ]
        assert source.accepts("zhangsan")

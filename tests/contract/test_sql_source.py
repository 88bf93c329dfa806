"""The `sql` account source on each database, and what is peculiar to one of them.

MariaDB stands for MySQL too: the same driver speaks the same protocol to both.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pymysql
import pytest

# Every module of the suite, before the first of them is imported.
pytest.register_assert_rewrite(
    *(f"tests.contract.{path.stem}" for path in Path(__file__).parent.glob("sql_source_*.py"))
)

from tests.contract.company_database import (  # noqa: E402
    BY_NAME,
    Company,
    OnMariaDB,
    OnPostgreSQL,
    OnSQLite,
)
from tests.contract.open_sql_source import HASH, OpenSource, alarm, alarms  # noqa: E402
from tests.contract.sql_source_suite import SqlSourceSuite  # noqa: E402
from tests.database_server import DatabaseServer  # noqa: E402
from wxauth_server.deadline import Deadline  # noqa: E402
from wxauth_server.errors import AccountSourceUnavailable  # noqa: E402

BY_ID = "FROM users WHERE id = :id"


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Company:
    return OnSQLite(tmp_path_factory.mktemp("company"))


@pytest.fixture(scope="module")
def on_mariadb(mariadb: DatabaseServer) -> Company:
    return OnMariaDB(mariadb)


@pytest.fixture(scope="module")
def on_postgres(postgres: DatabaseServer) -> Company:
    return OnPostgreSQL(postgres)


class TestSQLite(SqlSourceSuite):
    """A file, which is opened for reading."""

    @pytest.fixture
    def company(self, on_sqlite: Company) -> Company:
        on_sqlite.create_table()
        return on_sqlite


class TestMariaDB(SqlSourceSuite):
    """Through PyMySQL, as MySQL."""

    @pytest.fixture
    def company(self, on_mariadb: Company) -> Company:
        on_mariadb.create_table()
        return on_mariadb

    def test_a_name_that_the_collation_takes_for_another(
        self, company: Company, open_source: OpenSource
    ) -> None:
        """Which names are the same is the company's rule; the row says whose it is."""
        company.add(1, "ZhangSan", HASH)
        source = open_source()
        for name in ("zhangsan", "ZHANGSAN", "zhangsan  "):
            assert source.verify(name).account.username == "ZhangSan"

    def test_an_id_that_begins_like_another(
        self, company: Company, open_source: OpenSource
    ) -> None:
        """MySQL reads the number that a text begins with."""
        company.add(17, "zhangsan", HASH)
        assert company.rows("SELECT id FROM users WHERE id = '17x'") == [(17,)]
        source = open_source()
        assert source.get("17x") is None
        assert source.get("17") is not None

    @pytest.mark.parametrize(
        ("value", "enabled"), [("b'0'", True), ("b'1'", False), ("b'10'", False), ("NULL", True)]
    )
    def test_bits(
        self, value: str, enabled: bool, company: Company, open_source: OpenSource
    ) -> None:
        """They come as bytes; hashes and names may too."""
        company.add(1, "zhangsan", HASH)
        company.execute(
            "ALTER TABLE users ADD off BIT(2), MODIFY pass VARBINARY(255), MODIFY login BLOB",
            f"UPDATE users SET off = {value}",
        )
        columns = "id, login AS username, pass AS hash, off AS disabled"
        source = open_source(
            get_query=f"SELECT {columns} {BY_ID}",
            verify_query=f"SELECT {columns} FROM users WHERE login = :username",
        )
        account = source.get("1")
        assert account is not None
        assert account.enabled is enabled
        assert account.username == "zhangsan"
        if enabled:
            assert source.accepts("zhangsan")

    def test_decimals(self, company: Company, open_source: OpenSource) -> None:
        """What tables that came from Oracle count with."""
        company.add(1, "zhangsan", HASH)
        company.execute("ALTER TABLE users MODIFY id DECIMAL(24, 2), MODIFY locked DECIMAL(3, 1)")
        company.execute("UPDATE users SET id = 123456789012345678901")
        source = open_source()
        account = source.verify("zhangsan").account
        assert account.id == "123456789012345678901"
        assert source.get(account.id) == account
        company.execute("UPDATE users SET locked = 0.5")
        assert source.refuses("zhangsan")
        company.execute("UPDATE users SET locked = 0, id = 1.5")
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable

    def test_a_moment_of_disabling(self, company: Company, open_source: OpenSource) -> None:
        company.add(1, "zhangsan", HASH)
        company.execute("ALTER TABLE users ADD closed DATETIME")
        source = open_source(
            get_query=f"SELECT id, login AS username, pass AS hash, closed AS disabled {BY_ID}"
        )
        before = source.get("1")
        company.execute("UPDATE users SET closed = NOW()")
        after = source.get("1")
        assert before is not None
        assert after is not None
        assert (before.enabled, after.enabled) == (True, False)

    def test_bytes_that_are_no_text(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        company.add(1, "zhangsan", HASH)
        source = open_source(
            verify_query="SELECT id, login AS username, CAST(X'FF' AS BINARY) AS hash"
            " FROM users WHERE login = :username"
        )
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert [told["detail"] for told in alarms(caplog)] == ["hash is not UTF-8"]

    def test_a_server_that_does_not_know_a_setting(
        self,
        company: Company,
        open_source: OpenSource,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """MariaDB under MySQL's name: it refuses MySQL's time limit, and is used without."""
        monkeypatch.setattr(pymysql.Connection, "get_server_info", lambda _: "8.0.36")
        company.add(1, "zhangsan", HASH)
        source = open_source(timeout_s=0.3)
        assert source.accepts("zhangsan")
        assert [(record.message, vars(record).get("setting")) for record in caplog.records] == [
            ("the database refuses a setting", "max_execution_time = 300")
        ]
        # The limits that wxauth keeps itself hold.
        slow = open_source(verify_query=company.slow_query, timeout_s=0.3)
        assert type(slow.refusal("zhangsan")) is AccountSourceUnavailable

    def test_a_query_that_waited_for_a_connection_too_long(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is not begun: its connection would be cut for our own delay."""
        company.add(1, "zhangsan", HASH)
        source = open_source(
            get_query=f"SELECT id, login AS username, pass AS hash, SLEEP(0.6) {BY_ID}",
            connections=1,
            timeout_s=1,
        )

        async def two() -> list[object]:
            calls = [source.source.get("1", Deadline(5)) for _ in range(2)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

        first, second = source.run(two())
        assert first.id == "1"
        assert type(second) is AccountSourceUnavailable
        assert alarms(caplog) == [alarm("get_query", "busy", "waited for a connection too long")]

    def test_a_table_in_an_old_character_set(
        self, company: Company, open_source: OpenSource
    ) -> None:
        """GBK was common; the database translates, and knows no 🐼."""
        company.execute("ALTER TABLE users CONVERT TO CHARACTER SET gbk")
        company.add(1, "张三", HASH, nick="老张")
        source = open_source()
        account = source.verify("张三").account
        assert (account.username, account.display_name) == ("张三", "老张")
        # What has no form in the column's character set cannot be compared with it …
        assert type(source.refusal("🐼")) is AccountSourceUnavailable
        converts = BY_NAME.replace(":username", "CONVERT(:username USING gbk)")
        source = open_source(verify_query=converts)
        assert source.accepts("张三")
        assert source.refuses("🐼")  # … but by this query, which loses it


class TestPostgreSQL(SqlSourceSuite):
    """Through psycopg."""

    @pytest.fixture
    def company(self, on_postgres: Company) -> Company:
        on_postgres.create_table()
        return on_postgres

    def test_truth_values_moments_and_uuids(
        self, company: Company, open_source: OpenSource
    ) -> None:
        company.add(1, "zhangsan", HASH)
        company.execute(
            "ALTER TABLE users ADD key UUID DEFAULT '6f1c8b0a-0000-4000-8000-000000000001',"
            " ADD active BOOLEAN DEFAULT true, ADD closed TIMESTAMPTZ"
        )
        found = "SELECT key AS id, login AS username, pass AS hash"
        where = "FROM users WHERE key = CAST(:id AS uuid)"
        key = "6f1c8b0a-0000-4000-8000-000000000001"
        by_truth = open_source(get_query=f"{found}, NOT active AS disabled {where}")
        by_moment = open_source(get_query=f"{found}, closed AS disabled {where}")
        for source in (by_truth, by_moment):
            account = source.get(key)
            assert account is not None
            assert (account.id, account.enabled) == (key, True)
        company.execute("UPDATE users SET active = false, closed = now()")
        for source in (by_truth, by_moment):
            account = source.get(key)
            assert account is not None
            assert not account.enabled

    def test_a_function_cannot_write_either(
        self, company: Company, open_source: OpenSource, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The transaction is a reading one, not only the statement."""
        company.add(1, "zhangsan", HASH)
        company.execute(
            "CREATE FUNCTION leave(who text) RETURNS text LANGUAGE sql AS"
            " $$ UPDATE users SET gone = 1 WHERE login = who; SELECT who $$"
        )
        source = open_source(
            verify_query="SELECT id, leave(login) AS username, pass AS hash"
            " FROM users WHERE login = :username"
        )
        assert type(source.refusal("zhangsan")) is AccountSourceUnavailable
        assert [told["detail"] for told in alarms(caplog)] == ["ReadOnlySqlTransaction 25006"]
        assert company.rows("SELECT gone FROM users") == [(0,)]

    def test_casts_are_no_parameters(self, company: Company, open_source: OpenSource) -> None:
        company.add(1, "zhangsan", HASH)
        source = open_source(
            verify_query="SELECT id::text, login AS username, pass AS hash FROM users"
            " WHERE login = CAST(:username AS text)"
        )
        assert source.verify("zhangsan").account.id == "1"

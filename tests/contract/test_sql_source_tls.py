"""TLS between an `sql` account source and its database, as the documentation configures it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.certificates import CA, write_certificates
from tests.contract.company_database import OnMariaDB, OnPostgreSQL, OnServer
from tests.contract.open_sql_source import OpenedSource, OpenSource, alarms, sources
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.errors import AccountSourceUnavailable
from wxauth_server.keyring import create_keyring, load_keyring

# The TLS version of this very connection, where a name should be.
_MYSQL = (
    "SELECT :id AS id, VARIABLE_VALUE AS username, NULL AS hash"
    " FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_version'"
)
_POSTGRESQL = (
    "SELECT CAST(:id AS text) AS id, version AS username, NULL AS hash"
    " FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
)


@pytest.fixture(params=[OnMariaDB, OnPostgreSQL], ids=["MariaDB", "PostgreSQL"])
def company(request: pytest.FixtureRequest) -> OnServer:
    server = request.getfixturevalue("mariadb" if request.param is OnMariaDB else "postgres")
    made: OnServer = request.param(server)
    made.create_table()
    return made


@pytest.fixture
def open_source(company: OnServer, tmp_path: Path) -> Iterator[OpenSource]:
    create_keyring(tmp_path / "keyring.json")
    hasher = PasswordHasher(load_keyring(tmp_path / "keyring.json"), cost=4)
    with sources(company, hasher) as open_source:
        yield open_source


def options(company: OnServer, ca_file: Path) -> dict[str, str]:
    """The settings of a source that checks the certificate, and sees its TLS version."""
    if isinstance(company, OnMariaDB):
        return {"url": f"{company.url}?ssl_ca={ca_file}", "get_query": _MYSQL}
    verified = f"{company.url}?sslmode=verify-full&sslrootcert={ca_file}"
    return {"url": verified, "get_query": _POSTGRESQL}


def test_a_certificate_that_is_in_order(company: OnServer, open_source: OpenSource) -> None:
    account = open_source(**options(company, company.server.ca_file)).get("1")
    assert account is not None
    assert account.username == "TLSv1.3"


def test_a_certificate_of_another_authority(
    company: OnServer,
    open_source: OpenSource,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_certificates(tmp_path)
    source = open_source(**options(company, tmp_path / CA))
    with pytest.raises(AccountSourceUnavailable):
        source.get("1")
    assert [told["kind"] for told in alarms(caplog)] == ["no_answer"]


def test_a_certificate_for_another_name(company: OnServer, open_source: OpenSource) -> None:
    """It is for 127.0.0.1, and this asks for localhost, which answers."""

    def at_localhost(given: dict[str, str]) -> OpenedSource:
        return open_source(**given | {"url": given["url"].replace("@127.0.0.1:", "@localhost:")})

    assert at_localhost({"url": company.url}).get("1") is None
    with pytest.raises(AccountSourceUnavailable):
        at_localhost(options(company, company.server.ca_file)).get("1")

"""The company's own services and tables that accounts come from: whether they are reached.

A service is connected to and not asked: what it is asked is signed, and about users.
A table is asked for a user whom nobody can be, as a login would ask.
"""

from __future__ import annotations

import secrets
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from wxauth_server.accounts.sources.http_source_settings import HttpSourceSettings
from wxauth_server.accounts.sources.source_settings import SourceSettingsRefused
from wxauth_server.accounts.sources.sql_source_settings import SqlSourceSettings, UrlRefused
from wxauth_server.accounts.sources.sql_users import AnswerRefused, Failure, read_user
from wxauth_server.accounts.sources.sql_watchdog import GRACE_S
from wxauth_server.config import AccountSourceSettings
from wxauth_server.doctor.findings import (
    TIMEOUT_S,
    Check,
    Finding,
    Installation,
    ok,
    problem,
    skipped,
)
from wxauth_server.doctor.handshake import Ours, connect
from wxauth_server.doctor.special_files import is_special

_CHECK = Check.ACCOUNT_SOURCES_CONNECTION

#: Sources that are connected to at the same time.
_AT_ONCE = 8


def check_account_sources(installation: Installation) -> Iterator[Finding]:
    sources = installation.configuration.account_sources
    if not sources:
        yield skipped(_CHECK, "accounts are in wxauth's own database only")
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(_look, sources)


def _look(settings: AccountSourceSettings) -> Finding:
    try:
        if isinstance(settings, HttpSourceSettings):
            return _service(settings)
        return _table(settings)
    except SourceSettingsRefused as error:
        return problem(_CHECK, str(error), "correct account_sources in the configuration")


def _service(settings: HttpSourceSettings) -> Finding:
    if is_special(settings.ca_file):
        return skipped(
            _CHECK, f"{settings.name}: {settings.ca_file} is no regular file, and not read"
        )
    settings.check_ca_file()
    settings.signing_key()
    url = urlsplit(settings.url)
    host = url.hostname or ""
    context: ssl.SSLContext | None = None
    if url.scheme == "https":
        # As logins do: certifi's authorities, or in their place those of ca_file.
        context = Ours(settings.ca_file or DEFAULT_CA_BUNDLE_PATH).context()
    port = url.port or (443 if url.scheme == "https" else 80)
    fault = connect(host, port, context, name=host)
    if fault is None:
        return ok(_CHECK, f"{settings.name}: the service is reached; it was not asked anything")
    return problem(
        _CHECK,
        f"{settings.name}: the service {fault.value}",
        f"start it, or correct url (or ca_file) of the account source {settings.name} "
        "(docs/http-account-source.md)",
    )


def _table(settings: SqlSourceSettings) -> Finding:
    try:
        # SQLAlchemy and the drivers take time to import, and are another extra.
        from wxauth_server.accounts.sources.sql_database import Database

        timeout_s = min(settings.timeout_s, TIMEOUT_S)
        database = Database(settings.database_url(), timeout_s=timeout_s, connections=1)
    except ModuleNotFoundError:
        return problem(
            _CHECK,
            f"{settings.name}: the driver of its database is not installed",
            "install wxauth with its extra [sql]",
        )
    except UrlRefused as error:
        return problem(
            _CHECK, f"{settings.name}: url: {error}", "correct url or url_file of the source"
        )
    watchdog = database.new_watchdog()
    bite = threading.Timer(timeout_s + GRACE_S, watchdog.bite)
    bite.start()
    try:
        nobody = {"username": f"wxauth-doctor-{secrets.token_hex(16)}"}
        answer = database.read(settings.verify_query, nobody, watchdog)
    finally:
        bite.cancel()
        database.close()
    if isinstance(answer, Failure):
        what = "the database refuses verify_query" if answer.answered else "no answer"
        return problem(
            _CHECK,
            f"{settings.name}: {what} ({answer.error})",
            "the error is one of the database's; docs/sql-account-source.md says what each part "
            "needs: url, user and its rights, verify_query",
        )
    try:
        read_user(answer)
    except AnswerRefused as error:
        return problem(
            _CHECK,
            f"{settings.name}: verify_query: {error}",
            "name the columns as it asks for them",
        )
    return ok(_CHECK, f"{settings.name}: the database is reached and answers verify_query")

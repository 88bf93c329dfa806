"""`wxauth migrate`: the database brought to the schema of this version."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Annotated

import typer

from wxauth_server.cli.options import (
    ConfigFile,
    DataDirectory,
    existing_store,
    load,
    require_database,
)
from wxauth_server.cli.output import CommandFailed, console, print_error
from wxauth_server.store.inspection import InspectionFailed, inspected
from wxauth_server.store.interface import StoreTooNew, StoreUnusable, Transaction
from wxauth_server.store.opening import require_driver
from wxauth_server.store.schema import CODE_VERSION
from wxauth_server.store.settings import StoreSettings

#: Seconds after which it is said why there is no end yet.
LONG_S = 2.0
_INSPECTION_TIMEOUT_S = 3.0


def migrate(
    config: ConfigFile = None,
    data: DataDirectory = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; say whether there is something to do.")
    ] = False,
) -> None:
    """Bring the database to the schema of this version: all of it, or nothing.

    PostgreSQL: before the first start and with each upgrade, as the role that owns
    the tables. Servers never do it by themselves, and may go on meanwhile; of several
    at a time each waits for the one before. SQLite does not need it: the server does
    it when it starts. Exit status 0: the database has the schema; 1: it has not.
    """
    configuration = load(config, data)
    settings = configuration.store
    require_database(configuration)
    before = _version(settings)
    if check:
        _compare(before)
        return
    if settings.is_postgresql:
        with _telling_that_it_takes_long():
            from wxauth_server.store.postgresql_schema import migrate_postgresql

            steps = migrate_postgresql(settings.database_url())
    else:
        with existing_store(configuration):
            steps = CODE_VERSION - before
    if steps > 0:
        migrations = f"{steps} migration{'' if steps == 1 else 's'}"
        _say(f"The database has schema {CODE_VERSION} now; it took {migrations}.")
    else:
        _say(f"The database has schema {max(before, CODE_VERSION)}: nothing was to be done.")
    if not settings.is_postgresql:
        _say("It is SQLite, for which the server does that by itself when it starts.")


def _compare(there: int) -> None:
    if there < CODE_VERSION:
        has = f"schema {there}" if there else "no tables of wxauth that can be read"
        raise CommandFailed(
            f"the database has {has}, and this wxauth needs schema {CODE_VERSION}: "
            "run wxauth migrate"
        )
    _say(f"The database has schema {there}: nothing is to be done.")


def _version(settings: StoreSettings) -> int:
    """Of the schema that is there; 0 where there is none, or none that can be read.

    Raises: StoreTooNew, StoreUnusable.
    """
    try:
        if not settings.is_postgresql:
            with inspected(settings.directory) as inspection:
                return _known(inspection)
        require_driver()
        from wxauth_server.store.postgresql_inspection import inspected_server

        with inspected_server(settings.database_url(), timeout_s=_INSPECTION_TIMEOUT_S) as server:
            [(readable,)] = server.execute(
                "SELECT COALESCE(has_table_privilege(to_regclass('schema_state'), 'SELECT'), false)"
            )
            return _known(server) if readable else 0
    except InspectionFailed as failed:
        raise StoreUnusable(f"the database {settings.place} cannot be read: {failed}") from None


def _known(tx: Transaction) -> int:
    state = tx.execute("SELECT version, oldest_compatible FROM schema_state")
    version, oldest = state[0] if state else (0, 0)
    if oldest > CODE_VERSION:
        raise StoreTooNew(
            f"the database has schema {version}, which needs a wxauth that knows schema {oldest} "
            f"or later; this one knows {CODE_VERSION}"
        )
    return int(version)


@contextlib.contextmanager
def _telling_that_it_takes_long() -> Iterator[None]:
    told = threading.Timer(
        LONG_S,
        lambda: print_error(
            "still at it: large tables take their time, and so does another wxauth migrate, "
            "which is waited for"
        ),
    )
    told.daemon = True
    told.start()
    try:
        yield
    finally:
        told.cancel()


def _say(sentence: str) -> None:
    console().print(sentence, soft_wrap=True)

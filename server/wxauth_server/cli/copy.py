"""`wxauth copy`: an installation from one database engine to the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, TypeVar

import typer
from rich.text import Text

from wxauth_server.cli.copy_progress import CopyProgress
from wxauth_server.cli.options import ConfigFile, DataDirectory, load
from wxauth_server.cli.output import CommandFailed, console, print_error, print_table
from wxauth_server.server_lock import only_server
from wxauth_server.store.copy_digest import Content
from wxauth_server.store.copy_end import CopyEnd, CopyFailed, HoldEnd
from wxauth_server.store.copy_sqlite import hold_sqlite
from wxauth_server.store.copying import Comparison, CopyDiffers, compare, copy_all
from wxauth_server.store.opening import require_driver
from wxauth_server.store.settings import StoreSettings
from wxauth_server.store.sqlite import DATABASE_NAME

T = TypeVar("T")

#: Hexadecimal digits of a digest that are shown; all of it is compared.
_SHOWN_DIGITS = 12


class Engine(StrEnum):
    """The two databases that a configuration can name."""

    #: The file in the data directory.
    SQLITE = "sqlite"
    #: What store.url or store.url_file says.
    POSTGRESQL = "postgresql"


def copy(
    source: Annotated[
        Engine, typer.Option("--from", help="The database that is read.", show_default=False)
    ],
    destination: Annotated[
        Engine, typer.Option("--to", help="The empty database.", show_default=False)
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Copy nothing; compare what the two hold.")
    ] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Copy everything from SQLite to PostgreSQL, or back.

    One configuration names both: the SQLite database of the data directory,
    and the PostgreSQL one of store.url or store.url_file, which wxauth migrate
    has prepared. Stop every server first. What was written is compared with what
    was read before it is kept: the copy is there whole, or the destination is as
    empty as it was. Exit status 0: both hold the same; 1: they do not.
    """
    if source is destination:
        raise typer.BadParameter(
            "--from and --to are the same; within one engine its own tools copy: "
            "sqlite3 .backup, pg_dump"
        )
    store = load(config, data).store
    hold = _ends(store, destination)
    try:
        # The lock keeps servers out, on this machine; PostgreSQL tells of those on others.
        with only_server(store.directory), CopyProgress() as progress:
            work = compare if check else copy_all
            comparisons = work(hold[source], hold[destination], progress)
    except CopyDiffers as differs:
        _print(differs.comparisons)
        raise CommandFailed(f"{differs}: nothing of the copy was kept") from None
    except CopyFailed as failed:
        raise CommandFailed(str(failed)) from None
    except KeyboardInterrupt:
        print_error(
            "interrupted: nothing was copied, unless it was at its very end; run it again to "
            "begin anew"
        )
        raise typer.Exit(130) from None
    _print(comparisons)
    if different := [each.table for each in comparisons if not each.equal]:
        raise CommandFailed(f"the two databases differ in {', '.join(different)}")
    rows = sum(each.source.rows for each in comparisons)
    _say(f"Both hold the same {rows:,} rows." if check else f"Copied {rows:,} rows.")
    if not check:
        _say(_what_now(store, destination))


def _ends(store: StoreSettings, destination: Engine) -> dict[Engine, HoldEnd]:
    if not store.is_postgresql:
        raise CommandFailed(
            "the configuration names no PostgreSQL database: say where it is with store.url_file"
        )
    if not store.directory.is_dir():
        # Before the lock, which would make it.
        raise CommandFailed(f"{store.directory} is no directory: name the right one with --data")
    require_driver()
    url = store.database_url()
    from wxauth_server.store.copy_postgresql import hold_postgresql

    def sqlite(work: Callable[[CopyEnd], T]) -> T:
        return hold_sqlite(store.directory, work, create=destination is Engine.SQLITE)

    def postgresql(work: Callable[[CopyEnd], T]) -> T:
        return hold_postgresql(url, work)

    return {Engine.SQLITE: sqlite, Engine.POSTGRESQL: postgresql}


def _print(comparisons: Sequence[Comparison]) -> None:
    print_table(
        ("Table", "Rows", "Digest", ""),
        (
            (
                each.table,
                _both(f"{each.source.rows:,}", f"{each.destination.rows:,}"),
                _both(_digits(each.source), _digits(each.destination)),
                Text("same", style="green") if each.equal else Text("DIFFERS", style="bold red"),
            )
            for each in comparisons
        ),
    )


def _digits(content: Content) -> str:
    return content.fingerprint[:_SHOWN_DIGITS]


def _both(source: str, destination: str) -> str:
    return source if source == destination else f"{source} → {destination}"


def _what_now(store: StoreSettings, destination: Engine) -> str:
    if destination is Engine.SQLITE:
        return (
            "Take store.url and store.url_file out of the configuration before a server starts: "
            "with one of them it serves the PostgreSQL database, which stays as it was."
        )
    return (
        "Servers with this configuration serve the PostgreSQL database. "
        f"{store.directory / DATABASE_NAME} stays as it was; put it away, with its -wal and -shm: "
        "sessions that are ended from now on are still alive in it."
    )


def _say(sentence: str) -> None:
    console().print(sentence, soft_wrap=True)

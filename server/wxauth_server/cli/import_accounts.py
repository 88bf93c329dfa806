"""`wxauth accounts import`: the accounts of a file. Works while a server runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wxauth_server.accounts.imports.import_columns import ColumnMap
from wxauth_server.accounts.imports.import_files import AccountFile, Field, FileRefused
from wxauth_server.accounts.imports.import_formats import STANDARD_INPUT, Format, open_accounts
from wxauth_server.accounts.imports.importing import ImportBatch, Outcome
from wxauth_server.cli.admin_connection import ServerAddress, TokenFile
from wxauth_server.cli.import_destination import import_destination
from wxauth_server.cli.import_report import ImportReport
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, load
from wxauth_server.cli.output import CommandFailed

#: Rows of one transaction, for which logins wait: 15 ms, and up to 40, in a database of
#: a million (measured on 2 cores of 2026). As many as AdminService takes at a time.
BATCH_ROWS = 256


def import_accounts(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A .csv, .json, .jsonl or .db file; - for standard input.",
            show_default=False,
        ),
    ],
    file_format: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the file's name.", show_default=False),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help=f"Which column holds a field, or FIELD= for none. Repeat it for each. Fields: "
            f"{', '.join(Field)}. Default: by the columns' names.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            metavar="NAME",
            help="Table or view of an SQLite database. Default: the only one.",
            show_default=False,
        ),
    ] = None,
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Such as gb18030 or utf-16.")
    ] = "utf-8",
    delimiter: Annotated[
        str, typer.Option("--delimiter", metavar="CHARACTER", help="Of CSV; \\t for a tab.")
    ] = ",",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would become of each row; change nothing.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write every refused row to this CSV file: line, id, username and problem. "
            "Default: the first 20 to standard error.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    server: ServerAddress = None,
    token_file: TokenFile = None,
) -> None:
    """Import the accounts of another system, with their password hashes.

    Adds accounts and changes none: one that is there already stays as it is, and is
    refused unless the file says the same of it. A row that is refused keeps no other
    from being added. Interrupted, it is run again and goes on. The exit status is 1
    if a row was refused.
    """
    load(config, data)  # what is wrong with it goes before what is wrong with the file
    try:
        column_map = ColumnMap(_said(columns or []))
        with (
            open_accounts(
                file,
                file_format,
                column_map,
                table=table,
                encoding=encoding,
                delimiter="\t" if delimiter == "\\t" else delimiter,
            ) as accounts,
            import_destination(config, data, server, token_file, dry_run=dry_run) as import_batch,
            ImportReport.open(report, source=file, dry_run=dry_run, as_json=as_json) as told,
        ):
            _import_all(accounts, import_batch, told, dry_run=dry_run)
    except FileRefused as error:
        named = "standard input" if file == STANDARD_INPUT else file
        raise CommandFailed(f"{named}: {error}") from None
    if told.refused:
        raise typer.Exit(1)


def _said(columns: Sequence[str]) -> dict[str, str]:
    said: dict[str, str] = {}
    for each in columns:
        field, equals, column = each.partition("=")
        if not equals:
            raise typer.BadParameter(f"--map is FIELD=COLUMN, not {each!r}")
        if field in said:
            raise typer.BadParameter(f"--map says twice what the {field} is")
        said[field] = column
    return said


def _import_all(
    accounts: AccountFile, import_batch: ImportBatch, told: ImportReport, *, dry_run: bool
) -> None:
    rows = accounts.rows()
    while batch := list(itertools.islice(rows, BATCH_ROWS)):
        asked = [row.account for row in batch if row.account is not None]
        outcomes = iter(import_batch(asked, dry_run=dry_run))
        told.tell_columns(accounts)
        for row in batch:
            told.tell(row, Outcome.refused(row.problem) if row.account is None else next(outcomes))
        told.show(accounts.place())
    told.tell_columns(accounts)

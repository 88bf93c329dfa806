"""Options that commands share, and the configuration and the store they lead to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from wxauth_server.cli.output import CommandFailed
from wxauth_server.config import Configuration, load_configuration
from wxauth_server.store.interface import Store
from wxauth_server.store.opening import open_database
from wxauth_server.store.sqlite import DATABASE_NAME

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file to read. Default: the one that WXAUTH_CONFIG names, else wxauth.toml "
        "if it is there, else the development setting.",
        show_default=False,
    ),
]

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Directory of the database, and of what else a server has for itself. Default: "
        "store.directory of the configuration, .wxauth.",
        show_default=False,
    ),
]

AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON array instead of a table.")]

JsonObject = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]

Limit = Annotated[int, typer.Option("--limit", metavar="N", help="List at most N.", min=1)]


def not_empty(text: str | None) -> str | None:
    """Callback of options: empty, as of a script's empty variable, would be as if not given.

    Raises: typer.BadParameter.
    """
    if text == "":
        raise typer.BadParameter("it is empty; leave the option out")
    return text


def load(
    config: Path | None, data: Path | None = None, **tables: dict[str, object]
) -> Configuration:
    """The configuration, with what flags say above it; a flag that is None says nothing.

    Raises: ConfigurationError.
    """
    tables["store"] = {"directory": data}
    flags = {
        table: {key: value for key, value in keys.items() if value is not None}
        for table, keys in tables.items()
    }
    return load_configuration(config, **{table: keys for table, keys in flags.items() if keys})


def database_exists(configuration: Configuration) -> bool:
    """Whether the data directory holds a database; true for PostgreSQL.

    There nothing makes one by itself, and whoever opens it says what is missing.
    Raises: CommandFailed when that cannot be seen.
    """
    if configuration.store.is_postgresql:
        return True
    try:
        (configuration.store.directory / DATABASE_NAME).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CommandFailed(
            f"the data directory {configuration.store.directory} cannot be read: {error.strerror}"
        ) from None
    return True


def require_database(configuration: Configuration) -> None:
    """Raises: CommandFailed unless there is a database, so that a mistyped path makes none."""
    if not database_exists(configuration):
        raise CommandFailed(
            f"{configuration.store.directory} holds no wxauth database: "
            "name its directory with --data, or begin with wxauth keys init or wxauth dev"
        )


@contextlib.contextmanager
def existing_store(configuration: Configuration) -> Iterator[Store]:
    """The database, open, without the key ring. A server may be running on it.

    Raises: CommandFailed when there is none; StoreUnusable, StoreTooNew.
    """
    require_database(configuration)
    store = open_database(configuration.store)
    try:
        yield store
    finally:
        store.close()

"""`wxauth keys`: the key ring, which protects the database and is kept outside of it."""

from __future__ import annotations

import typer

from wxauth_server.cli.options import (
    ConfigFile,
    DataDirectory,
    database_exists,
    existing_store,
    load,
)
from wxauth_server.cli.output import CommandFailed, console, print_table
from wxauth_server.config import Configuration
from wxauth_server.keyring import create_keyring, load_keyring
from wxauth_server.store.accounts import keys_in_use

app = typer.Typer(help="The key ring that protects the database.", no_args_is_help=True)


@app.command()
def init(config: ConfigFile = None, data: DataDirectory = None) -> None:
    """Make the key ring, before the first start.

    Refused when there is one, and when the database was in use with another
    one: its passwords could never be checked again. Keep a copy of the file,
    apart from the copies of the database.
    """
    configuration = load(config, data)
    file = configuration.keyring_file
    if file.exists():
        raise CommandFailed(f"{file} exists already and is left as it is")
    _refuse_other_ring(configuration)
    create_keyring(file)
    _make_data_directory(configuration)
    console().print(f"Made {file}. Keep a copy of it in a safe place.", soft_wrap=True)


@app.command("list")
def list_keys(config: ConfigFile = None, data: DataDirectory = None) -> None:
    """List the keys: their ids are public, their secrets are not shown."""
    keyring = load_keyring(load(config, data).keyring_file)
    print_table(
        ("ID", "PURPOSE", "STATE"),
        [(key.id, key.purpose.value, "active" if key.active else "old") for key in keyring],
    )


def _refuse_other_ring(configuration: Configuration) -> None:
    if not database_exists(configuration):
        return
    with existing_store(configuration) as store:
        needed = [f"{key_id} ({purpose})" for purpose, key_id in store.read(keys_in_use)]
    if needed:
        raise CommandFailed(
            f"the database in {configuration.store.directory} needs the keys {', '.join(needed)}: "
            "put back the key ring that was in use with it"
        )


def _make_data_directory(configuration: Configuration) -> None:
    # With the ring elsewhere it is not there yet, and `accounts add` wants it.
    try:
        configuration.store.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(
            f"the data directory {configuration.store.directory} cannot be made: {error.strerror}"
        ) from None

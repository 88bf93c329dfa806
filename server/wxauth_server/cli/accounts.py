"""`wxauth accounts`: the accounts in our own store. Works while a server runs on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from wxauth_server.accounts.manage import AccountManager, Change
from wxauth_server.accounts.passwords import PasswordHasher
from wxauth_server.accounts.source import LOCAL
from wxauth_server.cli.new_password import BcryptHashStdin, PasswordStdin, read_password
from wxauth_server.cli.options import (
    AsJson,
    ConfigFile,
    DataDirectory,
    Limit,
    existing_store,
    load,
    require_database,
)
from wxauth_server.cli.output import (
    console,
    iso,
    print_json,
    print_table,
    readable,
    say_more,
)
from wxauth_server.clock import SystemClock
from wxauth_server.store.accounts import AccountRecord, list_accounts
from wxauth_server.store.opening import open_store

app = typer.Typer(help="The company's accounts in our own store.", no_args_is_help=True)

Username = Annotated[
    str | None, typer.Argument(metavar="USERNAME", help="The account.", show_default=False)
]
AccountId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="The account's id, in place of USERNAME."),
]


@app.command()
def add(
    username: Annotated[
        str,
        typer.Argument(
            metavar="USERNAME",
            help="The name to log in with; at most 256 bytes.",
            show_default=False,
        ),
    ],
    account_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The company's own user id; at most 128 bytes. Default: a random one.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The name to show.", show_default=False),
    ] = None,
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone", metavar="E.164", help="Such as +8613800138000.", show_default=False
        ),
    ] = None,
    phone_verified: Annotated[
        bool,
        typer.Option(
            "--phone-verified",
            help="The phone number is known to be this user's: it may stand for the password "
            "in mini-programs with bind_by_phone.",
        ),
    ] = False,
    password_stdin: PasswordStdin = False,
    bcrypt_hash_stdin: BcryptHashStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="No password: it cannot be used to log in yet.")
    ] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Add an account. Asks for its password, twice, unless told where it comes from."""
    if sum((password_stdin, bcrypt_hash_stdin, no_password)) > 1:
        raise typer.BadParameter(
            "give one of --password-stdin, --bcrypt-hash-stdin and --no-password"
        )
    with _manager(config, data, may_create=True) as manager:
        password = None
        if not no_password:
            password = read_password(password_stdin, bcrypt_hash_stdin)
        record = manager.add(
            username=username,
            account_id=account_id,
            display_name=name,
            phone=phone,
            phone_verified=phone_verified,
            password=password,
        )
    _say(f"Added the account {username} with the id {record.id}.")


@app.command("list")
def list_all(
    config: ConfigFile = None,
    data: DataDirectory = None,
    as_json: AsJson = False,
    limit: Limit = 100,
) -> None:
    """List accounts, the oldest first. Times are in UTC."""
    with existing_store(load(config, data)) as store:
        found = store.read(lambda tx: list_accounts(tx, LOCAL, limit=limit + 1))
    shown = found[:limit]
    if as_json:
        print_json(_fields(record) for record in shown)
    else:
        print_table(
            ("ID", "USERNAME", "NAME", "PHONE", "PASSWORD", "STATE", "ADDED"),
            (
                (
                    record.id,
                    record.username or "",
                    record.display_name or "",
                    _phone(record),
                    "yes" if record.password else "no",
                    Text("enabled", "green")
                    if record.disabled_at is None
                    else Text(f"disabled {readable(record.disabled_at)}", "yellow"),
                    readable(record.created_at),
                )
                for record in shown
            ),
        )
    if len(found) > limit:
        say_more(limit, as_json=as_json)


@app.command()
def set_password(
    username: Username = None,
    account_id: AccountId = None,
    password_stdin: PasswordStdin = False,
    bcrypt_hash_stdin: BcryptHashStdin = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Set another password and end all sessions of the account."""
    _one_of(username, account_id)
    if password_stdin and bcrypt_hash_stdin:
        raise typer.BadParameter("give one of --password-stdin and --bcrypt-hash-stdin")
    with _manager(config, data) as manager:
        record = manager.find(username=username, account_id=account_id)
        password = read_password(password_stdin, bcrypt_hash_stdin)
        change = manager.set_password(record.id, password)
    _say(f"Set the password of {_named(change)}; {_ended(change)}.")
    if change.account.username is None:
        _say("nobody can log in with it: the account has no username.")


@app.command()
def set_phone(
    username: Username = None,
    account_id: AccountId = None,
    phone: Annotated[
        str | None,
        typer.Option(
            "--phone", metavar="E.164", help="Such as +8613800138000.", show_default=False
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Remove the number.")] = False,
    verified: Annotated[
        bool,
        typer.Option(
            "--verified", help="The number is known, as of now, to be this user's: see above."
        ),
    ] = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Set, correct or remove an account's phone number.

    In mini-programs with bind_by_phone a verified number stands for the password:
    a WeChat user who has that number is bound to the account. Without --verified
    the number is not, or no longer, a verified one. Bindings and sessions stay.
    """
    _one_of(username, account_id)
    if (phone is None) != none:
        raise typer.BadParameter("give one of --phone and --none")
    if none and verified:
        raise typer.BadParameter("--verified needs --phone")
    with _manager(config, data) as manager:
        record = manager.find(username=username, account_id=account_id)
        change = manager.set_phone(record.id, phone, verified=verified)
    state = f"the phone number {_phone(change.account)}" if phone else "no phone number"
    _say(f"{_named(change)} has {state}{'' if change.changed else ' already'}.")


@app.command()
def disable(
    username: Username = None,
    account_id: AccountId = None,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Let an account log in no more, and end all its sessions."""
    _one_of(username, account_id)
    with _manager(config, data) as manager:
        record = manager.find(username=username, account_id=account_id)
        change = manager.disable(record.id)
    if change.changed:
        _say(f"Disabled {_named(change)}; {_ended(change)}.")
    else:
        _say(f"{_named(change)} is disabled already.")


@app.command()
def enable(
    username: Username = None,
    account_id: AccountId = None,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Let a disabled account log in again."""
    _one_of(username, account_id)
    with _manager(config, data) as manager:
        record = manager.find(username=username, account_id=account_id)
        change = manager.enable(record.id)
    _say(
        f"Enabled {_named(change)}." if change.changed else f"{_named(change)} is enabled already."
    )


@contextlib.contextmanager
def _manager(
    config: Path | None, data: Path | None, *, may_create: bool = False
) -> Iterator[AccountManager]:
    """The accounts of a data directory; `may_create` lets the database be made there."""
    configuration = load(config, data)
    if not (may_create and configuration.store.directory.is_dir()):
        require_database(configuration)
    store, keyring = open_store(configuration)
    try:
        hasher = PasswordHasher(keyring, cost=configuration.passwords.bcrypt_cost)
        yield AccountManager(store, hasher, SystemClock())
    finally:
        store.close()


def _one_of(username: str | None, account_id: str | None) -> None:
    if (username is None) == (account_id is None):
        raise typer.BadParameter("name the account by USERNAME or by --id ID")


def _phone(record: AccountRecord) -> str:
    return f"{record.phone or ''}{'' if record.phone_verified_at is None else ' (verified)'}"


def _fields(record: AccountRecord) -> dict[str, object]:
    return {
        "source": record.source,
        "id": record.id,
        "username": record.username,
        "display_name": record.display_name,
        "phone": record.phone,
        "phone_verified_at": iso(record.phone_verified_at),
        "has_password": record.password is not None,
        "created_at": iso(record.created_at),
        "disabled_at": iso(record.disabled_at),
    }


def _named(change: Change) -> str:
    return f"the account {change.account.username or change.account.id}"


def _ended(change: Change) -> str:
    count = change.sessions_ended
    return f"{count} session{'' if count == 1 else 's'} ended"


def _say(sentence: str) -> None:
    console().print(sentence[0].upper() + sentence[1:], soft_wrap=True)

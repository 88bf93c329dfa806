"""How commands name an account, and how they show one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.admin_service_pb2 import AccountDetails, AccountKey, GetAccountRequest
from wxauth_server.cli.admin_connection import AdminRefused
from wxauth_server.cli.options import not_empty
from wxauth_server.cli.output import CommandFailed, console
from wxauth_server.clock import iso

if TYPE_CHECKING:
    from wxauth_server.rpc.admin_calls import AdminCalls

Username = Annotated[
    str | None, typer.Argument(metavar="USERNAME", help="The account.", show_default=False)
]
AccountId = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="The account's id, in place of USERNAME."),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="With --id: the account source. Default: local, our own store.",
        show_default=False,
        callback=not_empty,
    ),
]

# Of lists, where the account is one filter among others.
OfAccount = Annotated[
    str | None,
    typer.Option(
        "--account",
        metavar="USERNAME",
        help="Of this account of our own store only.",
        show_default=False,
        callback=not_empty,
    ),
]
OfAccountId = Annotated[
    str | None,
    typer.Option(
        "--account-id",
        metavar="ID",
        help="Of the account with this id only.",
        show_default=False,
        callback=not_empty,
    ),
]
OfSource = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="SOURCE",
        help="The account source of --account-id. Default: local, our own store.",
        show_default=False,
        callback=not_empty,
    ),
]


def account_key(
    username: str | None, account_id: str | None, source: str | None = None
) -> AccountKey:
    """Raises: typer.BadParameter unless exactly one is given."""
    if (username is None) == (account_id is None):
        raise typer.BadParameter("name the account by USERNAME or by --id ID")
    if source is not None and account_id is None:
        raise typer.BadParameter("--source needs --id")
    return _key(username, account_id, source)


def account_filter(
    username: str | None, account_id: str | None, source: str | None
) -> AccountKey | None:
    """The account that --account or --account-id names; None without either.

    Raises: typer.BadParameter.
    """
    if username is not None and account_id is not None:
        raise typer.BadParameter("give one of --account and --account-id")
    if source is not None and account_id is None:
        raise typer.BadParameter("--source needs --account-id")
    if username is None and account_id is None:
        return None
    return _key(username, account_id, source)


def _key(username: str | None, account_id: str | None, source: str | None) -> AccountKey:
    try:
        if account_id is not None:
            return AccountKey(source=source or "", id=account_id)
        return AccountKey(username=username or "")
    except UnicodeEncodeError:  # its text quotes the argument
        raise CommandFailed("the account is named in something that is not UTF-8") from None


@contextlib.contextmanager
def naming(admin: AdminCalls, key: AccountKey) -> Iterator[None]:
    """Let a refusal say which account there is none of, or whose user has left."""
    try:
        yield
    except AdminRefused as error:
        if error.reason != "NOT_FOUND":
            raise
        if key.WhichOneof("account") == "username":
            named = f"username {key.username!r}"
        else:
            named = f"id {key.id!r}"
            require_user(_found(admin, key))
        raise CommandFailed(f"there is no account with the {named}") from None


def require_user(account: AccountDetails) -> None:
    """Raises: CommandFailed for an account whose user has left."""
    if account.HasField("delete_time"):
        raise CommandFailed(f"the user of the account with the id {account.id!r} has left")


def _found(admin: AdminCalls, key: AccountKey) -> AccountDetails:
    """Also one whose user has left; an empty message if there is none."""
    try:
        return admin.GetAccount(GetAccountRequest(account=key)).account
    except AdminRefused:
        return AccountDetails()


def account_fields(account: AccountDetails) -> dict[str, object]:
    """For --json."""
    return {
        "source": account.source,
        "id": account.id,
        "username": account.username or None,
        "display_name": account.display_name or None,
        "phone": account.phone or None,
        "phone_verified_at": iso(time_ms(account, "phone_verified_time")),
        "has_password": account.has_password,
        "password_locked": account.password_locked,
        "created_at": iso(time_ms(account, "create_time")),
        "disabled_at": iso(time_ms(account, "disable_time")),
        "deleted_at": iso(time_ms(account, "delete_time")),
    }


def phone_text(account: AccountDetails) -> str:
    return account.phone + (" (verified)" if account.HasField("phone_verified_time") else "")


def named_account(account: AccountDetails) -> str:
    return f"the account {account.username or account.id}"


def time_ms(message: Message, field: str) -> int | None:
    """A time of a message in milliseconds since 1970; None if it is absent."""
    if not message.HasField(field):
        return None
    time: Timestamp = getattr(message, field)
    return time.ToMilliseconds()


def sessions_ended(count: int) -> str:
    return f"{count:,} session{'' if count == 1 else 's'} ended"


def say(sentence: str) -> None:
    """A sentence on standard output, its first letter a capital."""
    console().print(sentence[0].upper() + sentence[1:], soft_wrap=True)

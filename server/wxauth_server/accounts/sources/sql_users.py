"""What the company's queries may answer: a strict reading of a user's row. No I/O here."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wxauth_server.accounts.account_fields import (
    MAX_DISPLAY_NAME_BYTES,
    AccountRefused,
    check_id,
    check_text,
)
from wxauth_server.accounts.sources.source import SourceAccount
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES

_NEEDED = ("id", "username", "hash")
_OPTIONAL = ("display_name", "disabled")


@dataclass(frozen=True, slots=True)
class Rows:
    """An answer: its columns, in order and as often as they are there, and two rows at most."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer. `error` is a class and a code of the driver's, fit for a log.

    `answered` is True if the database itself refused the statement, quickly.
    """

    error: str
    answered: bool


class AnswerRefused(ValueError):
    """A query's answer that is none. The text names columns and never a value."""


@dataclass(frozen=True)
class SqlUser:
    """A user as the company's table has it now. `hash` is None without a password."""

    account: SourceAccount
    hash: str | None = field(repr=False)


def read_user(answer: Rows) -> SqlUser | None:
    """The user of an answer; None if it has no row.

    Names that cannot be shown are left out: no reason to turn their owner away.
    Raises: AnswerRefused for two rows, and for columns that are missing, there
    twice, or of a type that makes no sense. The columns are checked even when
    there is no row, so that the first login with any name shows the mistake.
    """
    for name in (*_NEEDED, *_OPTIONAL):
        if answer.columns.count(name) > 1:
            raise AnswerRefused(f"there are two columns {name}")
    for name in _NEEDED:
        if name not in answer.columns:
            raise AnswerRefused(f"there is no column {name}")
    if not answer.rows:
        return None
    if len(answer.rows) > 1:
        raise AnswerRefused("there are two rows or more")
    found = dict(zip(answer.columns, answer.rows[0], strict=True))
    return SqlUser(
        account=SourceAccount(
            id=_id(found["id"]),
            username=_name(found, "username", MAX_USERNAME_BYTES),
            display_name=_name(found, "display_name", MAX_DISPLAY_NAME_BYTES),
            enabled=not _is_disabled(found.get("disabled")),
        ),
        # Tables that cannot hold NULL there say "no password" with an empty text.
        hash=_text(found, "hash") or None,
    )


def _id(value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, int) and not isinstance(value, bool):
        text = str(value)
    elif isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        text = f"{value:.0f}"
    else:
        raise AnswerRefused("id is neither a whole number nor text")
    try:
        check_id(text)
    except AccountRefused as refused:
        raise AnswerRefused(str(refused)) from None
    return text


def _name(found: Mapping[str, object], column: str, most_bytes: int) -> str | None:
    text = _text(found, column)
    try:
        check_text(column, text or "", most_bytes)
    except AccountRefused:
        return None
    return text


def _text(found: Mapping[str, object], column: str) -> str | None:
    value = found.get(column)
    if isinstance(value, bytes):  # VARBINARY and the like
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise AnswerRefused(f"{column} is not UTF-8") from None
    if value is None or isinstance(value, str):
        return value
    raise AnswerRefused(f"{column} is not text")


def _is_disabled(value: object) -> bool:
    if value is None or isinstance(value, bool | int | decimal.Decimal):
        return bool(value)
    if isinstance(value, bytes):  # MySQL's BIT
        return any(value)
    if isinstance(value, datetime.date):  # a datetime is one too
        return True
    # Text says nothing by itself: "0", "N" and "active" would all be true.
    raise AnswerRefused("disabled is neither a number, a truth value nor a moment: compare it")

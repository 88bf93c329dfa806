"""SQL of an import: many accounts in one statement, and what is there already."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from wxauth_server.store.interface import Transaction

T = TypeVar("T")

#: Most accounts of one statement. SQLite looks parameters up by their names one
#: after the other, so that many more of them take longer, not shorter.
_AT_ONCE = 32


class NewAccount(NamedTuple):
    """The columns of an account that is imported. Times in milliseconds since 1970."""

    id: str
    username: str | None
    username_key: str | None
    display_name: str | None
    phone: str | None
    phone_verified_at: int | None
    #: In its stored form.
    password: str | None
    disabled_at: int | None

    def __repr__(self) -> str:
        return f"NewAccount(id={self.id!r})"


class KnownAccount(NamedTuple):
    """An account that is there already, as far as an import has to know it."""

    id: str
    username: str | None
    display_name: str | None
    phone: str | None
    phone_verified_at: int | None
    password: str | None
    password_version: int
    disabled_at: int | None
    deleted_at: int | None

    def __repr__(self) -> str:
        return f"KnownAccount(id={self.id!r})"


_KNOWN_COLUMNS = ", ".join(KnownAccount._fields)


def insert_accounts(
    tx: Transaction, source: str, accounts: Sequence[NewAccount], *, now_ms: int
) -> list[bool]:
    """Add accounts; for each whether it was added. Its id or username is taken if not.

    Of those that take the same the first one is added.
    """
    added: list[bool] = []
    for some in _in_powers_of_two(accounts):
        parameters: dict[str, object] = dict(
            zip(_NAMES, itertools.chain.from_iterable(some), strict=False)
        )
        rows = tx.execute(_INSERT[len(some)], parameters | {"source": source, "now": now_ms})
        inserted = set(rows)
        for account in some:
            # Taken out, since another one with the same two was not the first.
            key = (account.id, account.username_key)
            added.append(key in inserted)
            inserted.discard(key)
    return added


def find_known_accounts(
    tx: Transaction, source: str, ids: Sequence[str]
) -> Mapping[str, KnownAccount]:
    """The accounts with these ids, by id."""
    known = {}
    for some in _in_powers_of_two(ids):
        parameters: dict[str, object] = {f"id{n}": each for n, each in enumerate(some)}
        for row in tx.execute(_FIND[len(some)], parameters | {"source": source}):
            account = KnownAccount._make(row)
            known[account.id] = account
    return known


def _in_powers_of_two(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """In their order; so that there are only as many statements as engines keep prepared."""
    start = 0
    while left := len(items) - start:
        width = min(_AT_ONCE, 1 << (left.bit_length() - 1))
        yield items[start : start + width]
        start += width


def _values_of(place: int) -> str:
    named = ", ".join(f":{column}{place}" for column in NewAccount._fields)
    return f"(:source, {named}, 1, :now)"


_NAMES = [f"{column}{place}" for place in range(_AT_ONCE) for column in NewAccount._fields]
_WIDTHS = [1 << power for power in range(_AT_ONCE.bit_length())]
_INSERT: Mapping[int, str] = {
    width: (
        f"INSERT INTO accounts (source, {', '.join(NewAccount._fields)},"  # noqa: S608 - constants
        " password_version, created_at)"
        f" VALUES {', '.join(map(_values_of, range(width)))}"
        " ON CONFLICT DO NOTHING RETURNING id, username_key"
    )
    for width in _WIDTHS
}
_FIND: Mapping[int, str] = {
    width: (
        f"SELECT {_KNOWN_COLUMNS} FROM accounts"  # noqa: S608 - constants
        f" WHERE source = :source AND id IN ({', '.join(f':id{n}' for n in range(width))})"
    )
    for width in _WIDTHS
}

"""Lists of AdminService, a page at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

RowT = TypeVar("RowT")

#: The most that AdminService sends at once.
PAGE_SIZE = 500


def first_rows(
    limit: int, page: Callable[[int, str], tuple[Iterable[RowT], str]]
) -> tuple[list[RowT], bool]:
    """At most `limit` rows, and whether there are more.

    `page` takes the size of a page and its token, and gives its rows and the
    token of the next page.
    """
    found: list[RowT] = []
    token = ""
    while True:
        rows, token = page(min(PAGE_SIZE, limit - len(found)), token)
        found.extend(rows)
        if not token or len(found) >= limit:
            return found, bool(token)

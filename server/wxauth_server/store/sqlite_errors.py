"""Failures of SQLite by the names of their codes: their texts may hold SQL or values."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator


def name_of(error: Exception) -> str:
    """Such as SQLITE_BUSY; the name of its class where it has no code."""
    return getattr(error, "sqlite_errorname", type(error).__name__)


@contextlib.contextmanager
def failures_as(make: Callable[[str], Exception]) -> Iterator[None]:
    """What the engine raises as what `make` makes of the failure's name, without a cause."""
    failure = None
    try:
        yield
    except sqlite3.Error as error:
        failure = name_of(error)
    if failure is not None:
        raise make(failure)

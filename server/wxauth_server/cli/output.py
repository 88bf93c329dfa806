"""How commands print: tables, JSON, times and errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: Columns for output that goes into a file or a pipe: no line is ever broken.
_WIDTH_OF_A_PIPE = 2_000


class CommandFailed(Exception):
    """The command cannot do what was asked. The text is for the operator."""


def console() -> Console:
    """Standard output, in colours and as wide as the terminal if it is one."""
    out = Console(highlight=False, markup=False, emoji=False)
    if not out.is_terminal:
        out.width = _WIDTH_OF_A_PIPE
    return out


def print_error(message: str) -> None:
    """One line, or one for each line of the message, on standard error."""
    err = Console(stderr=True, highlight=False, markup=False, emoji=False)
    for line in message.splitlines():
        err.print(Text("wxauth: ", style="bold red") + Text(line), soft_wrap=True)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """A table. A cell that is too long for the terminal is folded, never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        # As Text, so that brackets in somebody's name are no markup.
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    console().print(table)


def print_json(rows: Iterable[Mapping[str, object]]) -> None:
    """One JSON array."""
    print(json.dumps(list(rows), ensure_ascii=False, indent=2))


def print_json_object(fields: Mapping[str, object]) -> None:
    print(json.dumps(fields, ensure_ascii=False, indent=2))


def print_pairs(pairs: Iterable[tuple[str, str | Text]]) -> None:
    """A name and a value a line."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value) if isinstance(value, str) else value)
    console().print(table)


def say_more(limit: int, *, as_json: bool) -> None:
    """That there is more than what was listed; beside the JSON, not in it."""
    print(
        f"There are more; a --limit above {limit} shows them.",
        file=sys.stderr if as_json else sys.stdout,
    )


def readable(time_ms: int | None) -> str:
    """Milliseconds since 1970 as 2026-03-01 12:00:00 in UTC; empty without a time."""
    if time_ms is None:
        return ""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")

"""How far a copy is: a bar for each table on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from wxauth_server.store.copying import Step
from wxauth_server.store.interface import Row

#: Between two lines of progress.
_LINE_EVERY_S = 10.0
#: With the rest it fits into 80 columns.
_BAR_WIDTH = 16
#: Rows between two looks at the clock.
_STRIDE = 1_000


class CopyProgress:
    """A `Watch` that shows it on standard error while the block runs."""

    def __init__(self) -> None:
        self._err = Console(stderr=True, highlight=False, markup=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[step]:<9}"),
            BarColumn(_BAR_WIDTH),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]:>11,}"),
            TimeRemainingColumn(),
            console=self._err,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._rows: Mapping[str, int] = {}
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        if self._err.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._err.is_terminal:
            self._bars.stop()

    def expect(self, rows: Mapping[str, int], steps: int) -> None:
        self._rows = rows
        self._tasks = {
            table: self._bars.add_task(table, total=count * steps, step="", rows=count)
            for table, count in rows.items()
            if count
        }

    def follow(self, step: Step, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        done = 0
        for done, row in enumerate(rows, 1):
            yield row
            if not done % _STRIDE:
                self._show(step, table, done, _STRIDE)
        self._show(step, table, done, done % _STRIDE)

    def _show(self, step: Step, table: str, done: int, advanced: int) -> None:
        if table not in self._tasks:  # it is empty
            return
        self._bars.update(self._tasks[table], advance=advanced, step=step.value)
        now = time.monotonic()
        if not self._err.is_terminal and now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            of = self._rows[table]
            self._err.print(f"{step.value} {table}: {done:,} of {of:,} rows", soft_wrap=True)

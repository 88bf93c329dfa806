"""What an import says: its progress, the rows that were refused, and the sum of it.

The progress is a bar on a terminal, and now and then a line elsewhere.
"""

from __future__ import annotations

import contextlib
import csv
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from wxauth_server.accounts.imports.import_files import AccountFile, FileRow, Place
from wxauth_server.accounts.imports.importing import Outcome, Result
from wxauth_server.cli.output import CommandFailed, console

#: Refused rows that are shown where there is no report, and in JSON.
SHOWN_ROWS = 20
#: Between two lines of progress.
_LINE_EVERY_S = 10.0

_HEADER = ("line", "id", "username", "problem")


class ImportReport:
    """Counts outcomes and says what became of a file. See `open`."""

    def __init__(self, report: IO[str] | None, *, dry_run: bool, as_json: bool) -> None:
        self._counts: Counter[Result] = Counter()
        self._dry_run = dry_run
        self._as_json = as_json
        self._csv = csv.writer(report) if report else None
        if self._csv:
            self._csv.writerow(_HEADER)
        self._first_refused: list[dict[str, object]] = []
        self._columns_told = False
        self._bar = _bar()
        self._on_terminal = self._bar.console.is_terminal
        self._task = self._bar.add_task("Importing", total=None, rows="")
        self._begun = self._last_line = time.monotonic()

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, path: Path | None, *, source: Path, dry_run: bool, as_json: bool
    ) -> Iterator[ImportReport]:
        """Says the sum at the end, also where the block raises.

        Raises: CommandFailed when the report cannot be written to `path`.
        """
        with _opened(path, source) as report:
            told = cls(report, dry_run=dry_run, as_json=as_json)
            ended = False
            try:
                if told._on_terminal:
                    told._bar.start()
                yield told
                ended = True
            finally:
                if told._on_terminal:
                    told._bar.stop()
                told._say_sum(path, ended=ended)

    @property
    def refused(self) -> int:
        """How many rows were."""
        return self._counts[Result.REFUSED]

    def tell_columns(self, accounts: AccountFile) -> None:
        """Which column is read as what; once."""
        if self._columns_told:
            return
        self._columns_told = True
        read = ", ".join(f"{field}={_plain(name)}" for field, name in accounts.columns.items())
        self._line(f"Columns: {read}.")
        if accounts.ignored:
            self._line(f"Not read: {', '.join(map(_plain, accounts.ignored))}.")

    def tell(self, row: FileRow, outcome: Outcome) -> None:
        """What became of a row."""
        self._counts[outcome.result] += 1
        if outcome.result is not Result.REFUSED:
            return
        named = row.account or row
        told = (row.line, named.id or None, named.username or None, outcome.problem)
        if self._csv:
            self._csv.writerow(told)
        if len(self._first_refused) < SHOWN_ROWS:
            self._first_refused.append(dict(zip(_HEADER, told, strict=True)))

    def show(self, place: Place) -> None:
        """How far it has come."""
        now = time.monotonic()
        rows = self._counts.total()
        rate = rows / max(now - self._begun, 0.001)
        counted = f"{rows:,} rows, {rate:,.0f} a second"
        self._bar.update(self._task, completed=place.done, total=place.total, rows=counted)
        if not self._on_terminal and now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            self._line(f"{counted}{_left(place, now - self._begun)}")

    def _say_sum(self, path: Path | None, *, ended: bool) -> None:
        rows = self._counts.total()
        if not (ended or rows):
            return
        if self._csv is None:
            for refused in self._first_refused:
                named = f", id {refused['id']!r}" if refused["id"] else ""
                self._line(f"line {refused['line']}{named}: {refused['problem']}")
        if self._csv is None and self.refused > SHOWN_ROWS:
            self._line(f"and {self.refused - SHOWN_ROWS:,} more: --report FILE lists all of them.")
        added = f"{'Would add' if self._dry_run else 'Added'} {self._counts[Result.ADDED]:,}"
        counted = f"{added}, unchanged {self._counts[Result.UNCHANGED]:,}, refused {self.refused:,}"
        total = f"{counted} of {rows:,} rows."
        if self._as_json:
            self._line(total)
        else:
            console().print(total, soft_wrap=True)
        if self._csv and self.refused:
            self._line(f"The refused rows are in {path}.")
        if not ended:
            self._line("It did not come to the end of the file: run it again to go on.")
        if self._as_json:
            self._print_json(ended=ended)

    def _print_json(self, *, ended: bool) -> None:
        fields = {
            "added": self._counts[Result.ADDED],
            "unchanged": self._counts[Result.UNCHANGED],
            "refused": self.refused,
            "dry_run": self._dry_run,
            "complete": ended,
            "refusals": self._first_refused,
        }
        # In ASCII: what was refused may be no valid text.
        print(json.dumps(fields, indent=2))

    def _line(self, text: str) -> None:
        self._bar.console.print(text, soft_wrap=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False, markup=False, emoji=False),
        transient=True,
    )


def _left(place: Place, seconds: float) -> str:
    """How much there is still to do, if that is known."""
    if not (place.total and place.done):
        return ""
    left_s = round(seconds * (place.total - place.done) / place.done)
    return f", {place.done * 100 // place.total} %, {left_s // 60}:{left_s % 60:02} left"


def _plain(text: str) -> str:
    return text if text.isprintable() and text else repr(text)


@contextlib.contextmanager
def _opened(path: Path | None, source: Path) -> Iterator[IO[str] | None]:
    if path is None:
        yield None
        return
    try:
        if path.exists() and source.exists() and path.samefile(source):
            raise CommandFailed(f"--report would overwrite {source}")
        # What is no valid text was refused for that: here it is shown all the same.
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from None
    with file:
        yield file

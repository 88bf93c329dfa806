"""How far an export of the audit log is, on a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from wxauth.v1.admin_service_pb2 import AuditEvent


@contextlib.contextmanager
def export_progress(end_ms: int, *, shown: bool) -> Iterator[Callable[[AuditEvent, int], None]]:
    """What is told the event that an export is at, and how many they were.

    Shows it on standard error if that is a terminal. `end_ms` is when the last of them
    can have been.
    """
    err = Console(stderr=True)
    if not (shown and err.is_terminal):
        yield lambda _event, _count: None
        return
    text = TextColumn("Exporting: {task.fields[count]:,} events, {task.fields[reached]}")
    with Progress(text, BarColumn(), console=err, transient=True) as bar:
        task = bar.add_task("", total=None, count=0, reached="")
        begin_ms: int | None = None

        def tell(event: AuditEvent, count: int) -> None:
            nonlocal begin_ms
            at_ms = event.time.ToMilliseconds()
            begin_ms = at_ms if begin_ms is None else begin_ms
            bar.update(
                task,
                total=max(1, end_ms - begin_ms),
                completed=at_ms - begin_ms,
                count=count,
                reached=event.time.ToJsonString()[:10],
            )

        yield tell

"""What a measurement found, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

_WIDTH_IN_A_FILE = 180


@dataclass(frozen=True)
class Figure:
    """One line of the table. `failed_calls` is the only thing a run can fail by."""

    what: str
    measured: str
    target: str
    reached: bool
    failed_calls: int = 0


@dataclass(frozen=True)
class Scale:
    """How much to measure: `--short` is for trying the benchmark itself."""

    short: bool

    def pick(self, full: int, short: int) -> int:
        return short if self.short else full


@dataclass(frozen=True)
class Benchmark:
    """Measures one or more figures. `name` is what --only takes."""

    name: str
    run: Callable[[Scale], Sequence[Figure]]


def print_table(results: Sequence[tuple[str, Figure]]) -> None:
    """`results` are the name of the benchmark and what it found."""
    table = Table(title="wxauth: measured figures", title_justify="left")
    for heading in ("figure", "measured", "target", "verdict", "command"):
        table.add_column(heading, overflow="fold")
    for name, figure in results:
        if figure.failed_calls:
            verdict = f"[red]{figure.failed_calls} calls failed[/red]"
        else:
            verdict = "[green]reached[/green]" if figure.reached else "[yellow]missed[/yellow]"
        table.add_row(
            figure.what,
            figure.measured,
            figure.target,
            verdict,
            f"python -m tests.bench --only {name}",
        )
    console = Console()
    # In a file there is no width to keep to.
    (console if console.is_terminal else Console(width=_WIDTH_IN_A_FILE)).print(table)

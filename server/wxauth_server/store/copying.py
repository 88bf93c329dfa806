"""A copy of a whole database into an empty one, of the same engine or another.

Both ends are held in one transaction each, in which nobody else writes. What was
written is compared with the source before it is committed, so a copy is there
whole or not at all: interrupted in whatever way, it leaves the destination empty.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from wxauth_server.store.copy_digest import Content, content_of, fault_of
from wxauth_server.store.copy_end import CopyEnd, CopyFailed, HoldEnd
from wxauth_server.store.copy_tables import COPIED, CopiedTable
from wxauth_server.store.interface import Row

#: Rows of the source that cannot be copied and are named in a refusal.
SHOWN_FAULTS = 20


class Step(StrEnum):
    """What a copy does with each table."""

    READ = "Reading"
    WRITE = "Copying"
    COMPARE = "Comparing"


class Watch(Protocol):
    """Told how far a copy is."""

    def expect(self, rows: Mapping[str, int], steps: int) -> None:
        """How many rows there are by table, and how often each is gone through."""
        ...

    def follow(self, step: Step, table: str, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted as they go by."""
        ...


@dataclass(frozen=True)
class Comparison:
    """A table at both ends."""

    table: str
    source: Content
    destination: Content

    @property
    def equal(self) -> bool:
        return self.source == self.destination


class CopyDiffers(CopyFailed):
    """What was written is not what was read. Nothing of it is kept."""

    def __init__(self, comparisons: list[Comparison]) -> None:
        different = ", ".join(each.table for each in comparisons if not each.equal)
        super().__init__(f"the two databases differ in {different}")
        self.comparisons = comparisons


def copy_all(hold_source: HoldEnd, hold_destination: HoldEnd, watch: Watch) -> list[Comparison]:
    """Copy every row into the destination, which has none; what both ends hold then.

    The destination gets an id of its own and an empty revocation log.
    Raises: CopyFailed; CopyDiffers when the ends differ after it.
    """

    def copied(source: CopyEnd) -> list[Comparison]:
        return hold_destination(lambda destination: _copy(source, destination, watch))

    return hold_source(copied)


def compare(hold_source: HoldEnd, hold_destination: HoldEnd, watch: Watch) -> list[Comparison]:
    """What both ends hold, table by table. Changes nothing. Raises: CopyFailed."""

    def compared(source: CopyEnd) -> list[Comparison]:
        return hold_destination(lambda destination: _compare(source, destination, watch))

    return hold_source(compared)


def _copy(source: CopyEnd, destination: CopyEnd, watch: Watch) -> list[Comparison]:
    _refuse_rows(destination)
    for table in COPIED:
        if table.numbered:  # before the rows: it needs a right that the rest does not
            [(newest,)] = source.execute(f"SELECT MAX({table.key[0]}) FROM {table.name}")  # noqa: S608
            destination.number_after(table, newest or 0)
    watch.expect(_counts(source), steps=3)
    held = _read(source, watch)
    for table in COPIED:
        destination.insert(table, watch.follow(Step.WRITE, table.name, source.rows(table)))
    _name_anew(destination)
    comparisons = _compared(held, destination, watch)
    if not all(each.equal for each in comparisons):
        raise CopyDiffers(comparisons)
    return comparisons


def _compare(source: CopyEnd, destination: CopyEnd, watch: Watch) -> list[Comparison]:
    watch.expect(_counts(source), steps=2)
    held = {
        table.name: content_of(watch.follow(Step.READ, table.name, source.rows(table)))
        for table in COPIED
    }
    return _compared(held, destination, watch)


def _refuse_rows(destination: CopyEnd) -> None:
    found = [
        name
        for name in [*(table.name for table in COPIED), "revocations"]
        if destination.execute(f"SELECT 1 FROM {name} LIMIT 1")  # noqa: S608 - constants
    ]
    if found:
        raise CopyFailed(
            f"{destination.place} holds rows already, in {', '.join(found)}: a copy goes into an "
            "empty database only. Put that one away, or make another"
        )


def _counts(end: CopyEnd) -> dict[str, int]:
    return {
        table.name: end.execute(f"SELECT COUNT(*) FROM {table.name}")[0][0]  # noqa: S608
        for table in COPIED
    }


def _read(source: CopyEnd, watch: Watch) -> dict[str, Content]:
    """What the source holds. Raises: CopyFailed with the rows that cannot be copied."""
    shown: list[str] = []
    more = 0

    def examined(table: CopiedTable) -> Iterator[Row]:
        nonlocal more
        for row in watch.follow(Step.READ, table.name, source.rows(table)):
            if fault := fault_of(table, row):
                if len(shown) < SHOWN_FAULTS:
                    shown.append(fault)
                else:
                    more += 1
            yield row

    held = {table.name: content_of(examined(table)) for table in COPIED}
    if shown:
        rest = [f"and {more:,} more"] if more else []
        text = [f"{source.place} has rows that cannot be copied:", *shown, *rest]
        raise CopyFailed("\n".join(text))
    return held


def _compared(held: Mapping[str, Content], end: CopyEnd, watch: Watch) -> list[Comparison]:
    return [
        Comparison(
            table.name,
            held[table.name],
            content_of(watch.follow(Step.COMPARE, table.name, end.rows(table))),
        )
        for table in COPIED
    ]


def _name_anew(destination: CopyEnd) -> None:
    # Who remembers a position of the source must not take it for one of the copy.
    destination.execute("DELETE FROM revocation_log")
    destination.execute(
        "INSERT INTO revocation_log (one, database_id, position) VALUES (1, :id, 0)",
        {"id": secrets.token_hex(16)},
    )

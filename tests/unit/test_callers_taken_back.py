"""A change of the file of callers that is taken back, since nobody could be told of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from wxauth_server.callers.caller import Caller, Role
from wxauth_server.callers.callers_file import (
    FILE_NAME,
    CallersUnusable,
    changing_callers,
    load_callers,
)

ORDERS = Caller("orders", frozenset({Role.SERVICE}), 1_793_520_000_000)
SHOP = Caller("shop", frozenset({Role.SERVICE}), 1_793_520_000_000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE_NAME


@pytest.fixture
def written(path: Path) -> Path:
    """The file with the caller orders in it."""
    with changing_callers(path) as file:
        file.replace(file.book.with_caller(ORDERS))
    return path


def names(path: Path) -> list[str]:
    return [caller.name for caller in load_callers(path).callers]


def take_back(path: Path, caller: Caller, meanwhile: Callable[[], None]) -> None:
    """Add a caller, do something while it is there, and be interrupted."""
    with changing_callers(path) as file, file.replaced(file.book.with_caller(caller)):
        meanwhile()
        raise KeyboardInterrupt


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_change_that_is_taken_back(written: Path, mode: int) -> None:
    """To the byte, whoever wrote it."""
    written.write_bytes(written.read_bytes().replace(b"\n", b"\n\n"))
    written.chmod(mode)
    before = written.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        take_back(written, SHOP, lambda: names(written).remove("shop"))
    assert (written.read_bytes(), stat.S_IMODE(written.stat().st_mode)) == (before, mode)
    assert os.listdir(written.parent) == [FILE_NAME]


def test_a_first_change_that_is_taken_back(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        take_back(path, ORDERS, lambda: names(path).remove("orders"))
    assert os.listdir(path.parent) == []


def test_a_change_that_cannot_be_taken_back_is_told(written: Path) -> None:
    with pytest.raises(CallersUnusable, match=f"{written} has a change.*wxauth callers list"):
        # In the way of another change.
        take_back(written, SHOP, (written.parent / f"{FILE_NAME}.new").mkdir)
    assert names(written) == ["orders", "shop"]

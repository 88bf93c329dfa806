"""A new token of `wxauth callers`: printed once it is good, and good only if it was printed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.canary import CANARY
from tests.wxauth_command import refused, wxauth

COMMANDS = {
    "add": ("callers", "add", "shop", "--role", "service"),
    "rotate": ("callers", "rotate", "orders", "--old-good-for", "0"),
}
FULL = "wxauth: cannot write: No space left on device\n"
OPTIONS = ((), ("--json",), ("--output", "new.token", "--json"))


def callers_file(cwd: Path) -> Path:
    return cwd / ".wxauth" / "callers.json"


def files(cwd: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in cwd.rglob("*") if path.is_file()}


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A working directory with the caller orders, whose token is in orders.token."""
    add = ("callers", "add", "orders", "--role", "service", "--output", "orders.token")
    assert wxauth(*add, cwd=tmp_path).returncode == 0
    CANARY.keep((tmp_path / "orders.token").read_text().strip())
    return tmp_path


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_token_is_printed_that_is_no_good(
    command: str, options: tuple[str, ...], orders: Path
) -> None:
    """What reads it would put it in the place of the good one."""
    before = files(orders)
    obstacle = callers_file(orders).with_name("callers.json.new")
    obstacle.mkdir()  # the change cannot be written
    refused(wxauth(*COMMANDS[command], *options, cwd=orders), "callers.json cannot be written")
    assert files(orders) == before

    obstacle.rmdir()
    done = wxauth(*COMMANDS[command], *options, cwd=orders)
    assert done.returncode == 0
    printed = bool(re.search(r"wxc_[0-9A-Za-z_-]{43}", done.stdout))
    assert printed == ("--output" not in options)
    assert files(orders) != before


@contextmanager
def full() -> Iterator[IO[bytes]]:
    with open("/dev/full", "wb") as output:
        yield output


@contextmanager
def hung_up() -> Iterator[IO[bytes]]:
    """A pipe that nobody reads."""
    reads, writes = os.pipe()
    os.close(reads)
    with open(writes, "wb") as output:
        yield output


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("stdout", [full, hung_up])
def test_no_token_is_good_that_nobody_has(
    stdout: Callable[[], AbstractContextManager[IO[bytes]]],
    command: str,
    options: tuple[str, ...],
    orders: Path,
) -> None:
    """The callers are as they were: the token of before is good, and there is no other one."""
    before = files(orders)
    with stdout() as output:
        done = wxauth(*COMMANDS[command], *options, cwd=orders, stdout=output)
    assert done.returncode == 1
    assert done.stderr == ("" if stdout is hung_up else FULL)
    assert files(orders) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_a_standard_output_that_is_closed(command: str, orders: Path) -> None:
    before = files(orders)
    closed = ("sh", "-c", 'exec "$@" >&-', "sh")
    refused(wxauth(*COMMANDS[command], cwd=orders, prefix=closed), "standard output is closed")
    assert files(orders) == before

    # What is not printed needs none.
    done = wxauth(*COMMANDS[command], "--output", "new.token", cwd=orders, prefix=closed)
    assert done.returncode == 0
    assert (orders / "new.token").read_text().startswith("wxc_")


def test_the_first_caller_of_all(tmp_path: Path) -> None:
    with full() as output:
        done = wxauth(*COMMANDS["add"], cwd=tmp_path, stdout=output)
    assert (done.returncode, done.stderr) == (1, FULL)
    assert files(tmp_path) == {}

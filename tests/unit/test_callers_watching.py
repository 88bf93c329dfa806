"""The callers as a server follows them while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from wxauth_client.file_watch import FileWatch
from wxauth_server.callers.caller import Caller, CallerBook, Role
from wxauth_server.callers.callers_file import FILE_NAME, CallersUnusable, changing_callers
from wxauth_server.callers.watching import watch_callers
from wxauth_server.config import load_configuration


def watched(directory: Path, *, required: bool, **tables: Any) -> FileWatch[CallerBook]:
    directory.mkdir(exist_ok=True)
    configuration = load_configuration(
        store={"directory": directory}, grpc={"require_callers": required}, **tables
    )
    return watch_callers(configuration)


def write(directory: Path, *names: str) -> None:
    directory.mkdir(exist_ok=True)
    with changing_callers(directory / FILE_NAME) as file:
        file.replace(CallerBook(Caller(name, frozenset(Role), 1) for name in names))


def names(watch: FileWatch[CallerBook]) -> list[str]:
    return [caller.name for caller in watch.value.callers]


def test_a_server_that_needs_callers_does_not_start_without(tmp_path: Path) -> None:
    with pytest.raises(CallersUnusable, match=r"does not exist\. .*wxauth callers add NAME"):
        watched(tmp_path, required=True)
    write(tmp_path)
    with pytest.raises(CallersUnusable, match=r"names no callers\. .*wxauth callers add NAME"):
        watched(tmp_path, required=True)


def test_a_file_that_comes_later_is_followed(tmp_path: Path) -> None:
    watch = watched(tmp_path, required=False)
    assert names(watch) == []
    write(tmp_path, "orders")
    assert watch.refresh()
    assert names(watch) == ["orders"]


@pytest.mark.parametrize("required", [True, False])
def test_a_file_that_goes_away_leaves_its_callers_in_use(
    tmp_path: Path, required: bool, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "orders")
    watch = watched(tmp_path, required=required)
    (tmp_path / FILE_NAME).unlink()
    for _ in range(3):
        assert not watch.refresh()
    assert names(watch) == ["orders"]
    [alarm] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "does not exist" in alarm.getMessage()
    write(tmp_path, "shop")
    assert watch.refresh()
    assert names(watch) == ["shop"]


def test_a_list_that_was_emptied_lets_nobody_in(tmp_path: Path) -> None:
    write(tmp_path, "orders")
    watch = watched(tmp_path, required=True)
    write(tmp_path)
    assert watch.refresh()
    assert names(watch) == []


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1, "callers": [{"tokens": [[]]}]}'])
def test_a_broken_file_leaves_the_callers_in_use(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "orders")
    watch = watched(tmp_path, required=True)
    (tmp_path / FILE_NAME).write_bytes(content)
    for _ in range(3):
        assert not watch.refresh()
    assert names(watch) == ["orders"]


def test_a_file_elsewhere(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "orders")
    write(tmp_path / "data", "shop")
    file = tmp_path / "elsewhere" / FILE_NAME
    watch = watched(tmp_path / "data", required=True, callers={"file": file})
    assert names(watch) == ["orders"]

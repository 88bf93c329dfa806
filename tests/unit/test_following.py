"""The files of callers and certificates as a running server looks at them."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.rpc.busy_server import wait_until
from wxauth_client.file_watch import FileWatch
from wxauth_server.callers import watching
from wxauth_server.callers.watching import follow

SECRET = "what the file holds"


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "INTERVAL_S", 0.005)


def watch_of(file: Path) -> FileWatch[str]:
    """A reader with a fault in it: what it raises is nothing that it should."""

    def read() -> str:
        text = file.read_text()
        if SECRET in text:
            raise ZeroDivisionError(text)
        return text

    file.write_text("first")
    return FileWatch(file.name, [file], read)


def test_an_unexpected_fault_ends_no_looks(
    tmp_path: Path,
    server_loop: asyncio.AbstractEventLoop,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "wxauth.files")
    broken, sound = watch_of(tmp_path / "broken"), watch_of(tmp_path / "sound")

    def faults() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.levelno == logging.ERROR]

    following = asyncio.run_coroutine_threadsafe(follow([broken, sound]), server_loop)
    try:
        (tmp_path / "broken").write_text(SECRET)
        wait_until(lambda: bool(faults()))
        for text in ("second", "the third"):  # rounds of looks, each with the fault
            (tmp_path / "sound").write_text(text)
            wait_until(lambda expected=text: sound.value == expected)  # type: ignore[misc]
        assert broken.value == "first"
        (tmp_path / "broken").write_text("mended")
        wait_until(lambda: broken.value == "mended")
        assert not following.done()
    finally:
        following.cancel()
    [fault] = faults()
    assert fault.getMessage() == "broken: a look failed"
    trace = vars(fault)["trace"]
    assert trace[-1] == "ZeroDivisionError"
    assert SECRET not in str(trace)

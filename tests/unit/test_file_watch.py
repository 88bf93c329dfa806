"""FileWatch: what files say, followed while the process goes on."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from wxauth_client.file_watch import FileUnusable, FileWatch


def number_in(file: Path) -> int:
    try:
        return int(file.read_text("ascii"))
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read: {error.strerror}") from None
    except ValueError:
        raise FileUnusable(f"{file} holds no number") from None


class Watched:
    """A file with a number, and what was said about it."""

    def __init__(self, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "wxauth.files")
        self._caplog = caplog
        self.file = file
        self.reads = 0
        self.write("1")
        self.watch = FileWatch("number", [file], self._read)

    def write(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text, "ascii")
        new.replace(self.file)

    def look(self) -> bool:
        return self.watch.refresh()

    def said(self) -> list[tuple[str, str]]:
        """What was said since the last time, and how loud."""
        said = [(record.levelname, record.getMessage()) for record in self._caplog.records]
        self._caplog.clear()
        return said

    def _read(self) -> int:
        self.reads += 1
        return number_in(self.file)


@pytest.fixture
def watched(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Watched:
    return Watched(tmp_path / "number", caplog)


def test_what_changes_is_read_again(watched: Watched) -> None:
    assert watched.watch.value == 1
    watched.write("2")
    assert watched.look()
    assert watched.watch.value == 2
    assert watched.said() == [("INFO", "number: exchanged")]


def test_what_does_not_change_is_not_read_again(watched: Watched) -> None:
    assert not watched.look()
    assert watched.reads == 1


def test_the_same_again_is_no_exchange(watched: Watched) -> None:
    watched.write("1")
    assert not watched.look()
    assert (watched.reads, watched.said()) == (2, [])


@pytest.mark.parametrize("broken", ["", "x", None])
def test_a_broken_file_leaves_the_old_value_and_is_said_once(
    watched: Watched, broken: str | None
) -> None:
    if broken is None:
        watched.file.unlink()
    else:
        watched.write(broken)
    for _ in range(4):
        assert not watched.look()
    assert watched.watch.value == 1
    [(level, text)] = watched.said()
    assert level == "ERROR"
    assert text.startswith(f"number: the new one cannot be used, the old one stays: {watched.file}")


def test_half_written_at_one_look_is_not_said(watched: Watched) -> None:
    watched.write("")
    assert not watched.look()
    watched.write("2")
    assert watched.look()
    assert watched.said() == [("INFO", "number: exchanged")]


def test_another_fault_is_said_too(watched: Watched) -> None:
    watched.write("x")
    watched.look()
    watched.look()
    watched.file.unlink()
    watched.look()
    watched.look()
    assert [level for level, _ in watched.said()] == ["ERROR", "ERROR"]


@pytest.mark.parametrize(("mended", "exchanged"), [("1", False), ("2", True)])
def test_recovery_is_said(watched: Watched, mended: str, exchanged: bool) -> None:
    watched.write("x")
    watched.look()
    watched.look()
    watched.said()
    watched.write(mended)
    assert watched.look() is exchanged
    assert ("INFO", "number: can be used again") in watched.said()
    watched.write("x")
    watched.look()
    watched.look()
    assert [level for level, _ in watched.said()] == ["ERROR"]


def test_a_fault_that_is_not_of_the_file_passes(tmp_path: Path) -> None:
    """Such as too many open files: nothing on the file changes when that is over."""
    file = tmp_path / "number"
    file.write_text("1")
    faulty = False

    def read() -> int:
        if faulty:
            raise FileUnusable("too many open files")
        return number_in(file)

    watch = FileWatch("number", [file], read)
    faulty = True
    file.write_text("22")
    for _ in range(3):
        assert not watch.refresh()
    faulty = False
    assert watch.refresh()
    assert watch.value == 22


def test_links_that_are_exchanged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As an orchestrator mounts it: number -> ..data/number, ..data -> a directory per version."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "number").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "number"
    file.symlink_to("..data/number")
    watch = FileWatch("number", [file], lambda: number_in(file))

    def point_to(version: str) -> None:
        (tmp_path / "..new").symlink_to(f"..{version}")
        (tmp_path / "..new").replace(tmp_path / "..data")

    point_to("2")
    assert watch.refresh()
    assert watch.value == 2
    point_to("3")  # which is not there
    watch.refresh()
    watch.refresh()
    point_to("2")  # the very file that was there before
    caplog.set_level(logging.INFO, "wxauth.files")
    assert not watch.refresh()
    assert "number: can be used again" in caplog.messages


def test_files_that_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "number"
    with pytest.raises(FileUnusable, match="cannot be read: No such file"):
        FileWatch("number", [file], lambda: number_in(file))

"""`wxauth audit export`: real processes on a real database."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.audit_log import APP, NOON, Log, audit_log
from tests.wxauth_command import refused, wxauth
from wxauth_server.digests import OpenidDigests
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.interface import Transaction


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with audit_log(tmp_path) as opened:
        yield opened


@pytest.fixture
def four(log: Log) -> Log:
    log.fill()
    return log


def test_an_export_has_every_field(four: Log) -> None:
    digest = OpenidDigests(four.keyring).of(APP, "oOne")
    first, _, third, _ = four.export()
    assert first == {
        "id": 1,
        "time": "2026-09-21T14:14:00.000Z",
        "event": "LOGIN",
        "reason": None,
        "count": 1,
        "actor": "user",
        "caller": None,
        "app_id": APP,
        "openid_digest": digest,
        "account_source": "local",
        "account_id": "10001",
        "session_handle": "h" * 22,
        "client_address": "192.0.2.1",
    }
    assert re.fullmatch("[0-9a-f]{32}", digest)
    assert (third["count"], third["openid_digest"]) == (250, None)
    assert (third["actor"], third["caller"]) == ("admin", "ops-laptop")


def test_a_long_log_is_exported_page_by_page(log: Log) -> None:
    def fill(tx: Transaction) -> None:
        for number in range(1_201):
            record_event(tx, Event.LOGIN, now_ms=NOON + number)

    log.store.write(fill)
    assert [event["id"] for event in log.export()] == list(range(1, 1_202))


def test_an_export_to_a_file(four: Log) -> None:
    """For its owner only, whatever was there before and whatever the umask."""
    file = four.cwd / "out.jsonl"
    file.write_text("former\n")
    file.chmod(0o644)
    done = wxauth("audit", "export", "--output", file, cwd=four.cwd)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Exported 4 events to {file}.\n"
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [1, 2, 3, 4]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {path.name for path in four.cwd.iterdir()} == {".wxauth", "out.jsonl"}


def test_an_export_through_a_symbolic_link_replaces_the_file(four: Log) -> None:
    (four.cwd / "there").mkdir()
    link, file = four.cwd / "link", four.cwd / "there" / "out.jsonl"
    link.symlink_to(file)
    done = wxauth("audit", "export", "-o", link, "--event", "BOUND", cwd=four.cwd)
    assert (done.returncode, done.stderr) == (0, f"Exported 0 events to {link}.\n")
    assert link.is_symlink()
    assert file.read_text() == ""


def test_an_export_that_fails_leaves_the_file_as_it_was(four: Log) -> None:
    file = four.cwd / "out.jsonl"
    file.write_text("former\n")
    done = wxauth("audit", "export", "-o", file, "--account", "nobody", cwd=four.cwd)
    refused(done, "account.username", "no account has this username")
    # Half way: the second page does not come.
    four.store.write(
        lambda tx: tx.execute("UPDATE audit_events SET reason = CAST(x'ff' AS TEXT) WHERE id = 4")
    )
    refused(wxauth("audit", "export", "-o", file, cwd=four.cwd), "store")
    assert file.read_text() == "former\n"
    assert {path.name for path in four.cwd.iterdir()} == {".wxauth", "out.jsonl"}


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("nowhere/out", ("cannot be written", "No such file")),
        (".wxauth", ("is no file",)),
        ("/dev/full", ("is no file", "leave out --output")),
    ],
)
def test_an_output_that_cannot_be(four: Log, output: str, parts: tuple[str, ...]) -> None:
    refused(wxauth("audit", "export", "--output", output, cwd=four.cwd), output, *parts)


def test_a_full_standard_output(four: Log) -> None:
    with open("/dev/full", "wb") as full:
        done = wxauth("audit", "export", cwd=four.cwd, stdout=full)
    assert done.returncode == 1
    assert "wxauth: cannot write: No space left on device" in done.stderr
    assert "Exported" not in done.stderr


@pytest.mark.parametrize("command", ["tail", "export"])
def test_without_a_database(tmp_path: Path, command: str) -> None:
    """A mistyped directory makes none."""
    refused(wxauth("audit", command, cwd=tmp_path), "holds no wxauth database")
    assert list(tmp_path.iterdir()) == []


def test_times_that_go_back(four: Log) -> None:
    done = wxauth("audit", "export", "--since", "1d", "--until", "2d", cwd=four.cwd)
    refused(done, "until: before since")


# --- One line an event ----------------------------------------------------------

NASTY = "a\nb\r\x1b[31mc\x1b[0m\x07\x7f\x85\u2028\u202e\"'\\{[bold]"


@pytest.mark.parametrize("arguments", [("export",), ("tail", "--json"), ("tail",)], ids=" ".join)
def test_whatever_is_in_the_database_is_one_line(log: Log, arguments: tuple[str, ...]) -> None:
    """Row 48: somebody may have written there by hand."""
    log.record(
        Event.LOGIN,
        reason=NASTY,
        app_id=NASTY,
        openid=NASTY,
        account=(NASTY, NASTY),
        session_handle=NASTY,
        client_address=NASTY,
        caller=NASTY,
    )
    done = wxauth("audit", *arguments, cwd=log.cwd)
    assert done.returncode == 0
    *head, line = done.stdout.removesuffix("\n").split("\n")
    assert len(head) == (arguments == ("tail",)), "the head of the table"
    assert line.isprintable()
    assert line.count("\\u001b[31m") == 7
    if arguments != ("tail",):
        assert line.isascii()
        event = json.loads(line)
        told = ("reason", "app_id", "account_source", "account_id", "client_address", "caller")
        assert {event[name] for name in told} == {NASTY}

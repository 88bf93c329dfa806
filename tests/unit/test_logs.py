"""The log: one line an event, whatever its values hold."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

from wxauth_server.logs import set_up_logs

NASTY = {
    "newline": "a\nb\r\nc",
    "ansi": "\x1b[31mred\x1b[0m \x9b31m",
    "quotes": 'say "hello" \\ {"event": "forged"}',
    "line ends": "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg",
    "controls": "".join(map(chr, [*range(32), 127, *range(128, 160)])),
    "chinese": "张三",
    "not text": ["a\nb", {"c": ("d", None, 1.5)}],
}

SetUp = Callable[..., Callable[[], str]]


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[SetUp]:
    """Sets up the log as the server does; gives what it wrote. All is put back afterwards."""
    names = ("", "urllib3", "urllib3.connection", "requests", "httpx", "httpcore")
    levels = {name: logging.getLogger(name).level for name in names}
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    def start(format: Literal["json", "text"], level: str = "info") -> Callable[[], str]:  # noqa: A002
        written = io.BytesIO()
        # As Python itself makes standard error.
        stream = io.TextIOWrapper(written, "utf-8", "backslashreplace", write_through=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", stream)
            set_up_logs(format, level)
        return lambda: written.getvalue().decode()

    yield start
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


@pytest.mark.parametrize("kind", NASTY)
def test_json_is_one_line_and_says_what_was_said(set_up: SetUp, kind: str) -> None:
    written = set_up("json")
    logging.getLogger("wxauth.test").info("it is %s", NASTY[kind], extra={"value": NASTY[kind]})
    output = written()
    assert output.endswith("\n")
    assert len(output.splitlines()) == 1
    event = json.loads(output)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", event.pop("time"))
    value = json.loads(json.dumps(NASTY[kind]))
    assert event == {
        "level": "info",
        "logger": "wxauth.test",
        "event": f"it is {NASTY[kind]}",
        "value": value,
    }


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize("kind", NASTY)
def test_no_value_reaches_the_terminal_as_a_control(
    set_up: SetUp,
    format: str,  # noqa: A002
    kind: str,
) -> None:
    """Row 48: neither a second line nor a sequence that a terminal or a pager obeys."""
    written = set_up(format)
    logging.getLogger("wxauth.test").info("it is %s", NASTY[kind], extra={"value": NASTY[kind]})
    line = written().removesuffix("\n")
    assert [c for c in line if unicodedata.category(c) in {"Cc", "Zl", "Zp"}] == []


def test_text_is_for_reading(set_up: SetUp) -> None:
    written = set_up("text")
    logging.getLogger("wxauth.test").warning(
        "something %s", "happened", extra={"user": "张三", "count": 3, "why": 'a "b"'}
    )
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} warning wxauth\.test: something happened"
        r' user="张三" count=3 why="a \\"b\\""\n',
        written(),
    )


@pytest.mark.parametrize("format", ["json", "text"])
def test_the_text_of_an_exception_is_not_logged(
    set_up: SetUp,
    format: str,  # noqa: A002
) -> None:
    """Its class is: the text may hold what a driver or WeChat wrote (F2)."""
    written = set_up(format)
    try:
        try:
            raise KeyError("TOPSECRET cause")
        except KeyError as error:
            raise ValueError("TOPSECRET\nurl?secret=1") from error
    except ValueError:
        logging.getLogger("wxauth.test").exception("failed")
    output = written()
    assert "TOPSECRET" not in output
    assert "ValueError" in output
    assert len(output.splitlines()) == 1


def test_a_value_that_is_not_json_does_not_lose_the_event(set_up: SetUp) -> None:
    written = set_up("json")
    values: dict[str, Any] = {"raw": b"\xff", "kind": ValueError, "many": {1, 2}}
    logging.getLogger("wxauth.test").info("said", extra=values)
    event = json.loads(written())
    assert event["event"] == "said"
    assert event.keys() >= values.keys()


def test_a_half_surrogate_does_not_lose_the_event(set_up: SetUp) -> None:
    """A command-line argument that is not UTF-8 comes as one."""
    written = set_up("json")
    logging.getLogger("wxauth.test").info("said", extra={"user": "a\udcffb"})
    assert json.loads(written())["event"] == "said"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(set_up: SetUp, level: str, expected: list[str]) -> None:
    written = set_up("json", level)
    log = logging.getLogger("wxauth.test")
    log.debug("no")
    log.info("i")
    log.warning("w")
    log.error("e")
    assert [json.loads(line)["level"] for line in written().splitlines()] == expected


def test_clients_that_log_urls_are_quiet(set_up: SetUp) -> None:
    """F2: they write the AppSecret with the URL."""
    written = set_up("json")
    for name in ("urllib3.connectionpool", "requests", "httpx", "httpcore.http11"):
        logging.getLogger(name).info("GET https://x/?secret=TOPSECRET")
        logging.getLogger(name).debug("GET https://x/?secret=TOPSECRET")
    logging.getLogger("urllib3.connection").warning("Failed to parse headers (url=TOPSECRET)")
    assert written() == ""

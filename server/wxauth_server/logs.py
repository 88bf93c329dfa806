"""The log: one line an event, UTC, fields by name. It never holds a secret."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


# What json leaves as it is, and terminals or readers of lines obey.
_CONTROLS = {code: f"\\u{code:04x}" for code in (*range(0x7F, 0xA0), 0x2028, 0x2029)}


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str).translate(_CONTROLS)


class _Lines(logging.Formatter):
    """Formats without the exception's text, which may hold what must not be logged."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[0]:
            fields["exception"] = record.exc_info[0].__qualname__
        if self._as_json:
            head = {
                "time": moment,
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
            }
            return _dump(head | fields)
        # JSON for the values here too: a newline in one must not make a second line.
        described = "".join(f" {key}={_dump(value)}" for key, value in fields.items())
        event = _dump(record.getMessage())[1:-1]
        return f"{moment[11:23]} {record.levelname.lower():7} {record.name}: {event}{described}"


def set_up_logs(format: Literal["json", "text"], level: str) -> None:  # noqa: A002
    """Send the log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(as_json=format == "json"))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # These write whole URLs, secrets included, below WARNING (reliability.md F2).
    for name in ("urllib3", "requests", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # And this one even as a WARNING, when an answer has malformed headers.
    logging.getLogger("urllib3.connection").setLevel(logging.ERROR)


def trace_without_text(error: BaseException) -> list[str]:
    """Where an exception came from and its class; never its text, which may hold a secret."""
    frames = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    return [*frames, type(error).__qualname__]

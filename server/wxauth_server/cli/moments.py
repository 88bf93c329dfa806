"""Points in time as arguments: 2026-03-01, 2026-03-01T08:00+08:00, or 7d for seven days ago."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import typer
from google.protobuf.timestamp_pb2 import Timestamp

_AGO = re.compile(r"(\d{1,6})([mhd])")
_UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_moment(text: str, *, now_ms: int) -> Timestamp:
    """The moment that is meant; in UTC unless it says otherwise.

    Raises: typer.BadParameter.
    """
    moment = Timestamp()
    try:
        if ago := _AGO.fullmatch(text):
            moment.FromMilliseconds(now_ms - int(ago[1]) * _UNITS_MS[ago[2]])
        else:
            parsed = datetime.fromisoformat(text)
            moment.FromDatetime(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is no time: write 2026-03-01, 2026-03-01T08:00+08:00, "
            "or 30m, 12h, 7d for so long ago"
        ) from None
    return moment

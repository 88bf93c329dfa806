"""How an event of the audit log is printed: one line each, whatever is in it."""

from __future__ import annotations

import json
import unicodedata
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from wxauth.v1.admin_service_pb2 import AuditEvent
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_server.callers.caller import SERVER_ADMIN_NAME
from wxauth_server.clock import iso
from wxauth_server.store.audit import Event

# json.dumps leaves this one control character as it is.
_DELETE = {0x7F: "\\u007f"}
#: Categories of Unicode that a terminal or a reader of lines may obey.
_CONTROLS = frozenset({"Cc", "Cf", "Zl", "Zp"})
#: Digits of an openid_digest that the table shows; JSON has all of it.
_DIGITS_SHOWN = 12
# They mean that somebody was turned away.
_STYLES = {"REFUSED": "yellow", "REPLAYED": "red", "THROTTLED": "yellow", "LOCKED": "red"}

_REASONS = [name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()]


class _Column(NamedTuple):
    header: str
    #: Of what is usual in it. What is wider moves the rest of its line.
    width: int


_COLUMNS = (
    _Column("TIME", 24),
    _Column("EVENT", max(map(len, Event))),
    _Column("REASON", max(map(len, _REASONS))),
    _Column("COUNT", 5),
    _Column("BY", len(f"admin/{SERVER_ADMIN_NAME}")),
    _Column("APP", 18),
    _Column("ACCOUNT", 14),
    _Column("WECHAT USER", _DIGITS_SHOWN),
    _Column("SESSION", 22),
    _Column("FROM", 0),
)


def json_line(event: AuditEvent) -> str:
    """One JSON object in ASCII; null for what is not known."""
    fields = {
        "id": event.id,
        "time": iso(event.time.ToMilliseconds()),
        "event": event.event,
        "reason": event.reason or None,
        "count": event.count,
        "actor": event.actor or None,
        "caller": event.caller or None,
        "app_id": event.app_id or None,
        "openid_digest": event.openid_digest or None,
        "account_source": event.account_source or None,
        "account_id": event.account_id or None,
        "session_handle": event.session_handle or None,
        "client_address": event.client_address or None,
    }
    return json.dumps(fields).translate(_DELETE)


def table_head() -> Text:
    return Text(_aligned([column.header for column in _COLUMNS]), style="bold")


def table_line(event: AuditEvent) -> Text:
    """The same for reading. Control characters are shown as \\u…, never sent."""
    account = f"{event.account_source}/{event.account_id}" if event.account_id else ""
    cells = (
        iso(event.time.ToMilliseconds()) or "",
        event.event,
        event.reason,
        str(event.count),
        f"{event.actor}/{event.caller}" if event.caller else event.actor,
        event.app_id,
        account,
        event.openid_digest[:_DIGITS_SHOWN],
        event.session_handle,
        event.client_address,
    )
    style = _STYLES.get(event.event.rpartition("_")[2], "")
    return Text(_aligned([_visible(cell) for cell in cells]), style=style)


def _aligned(cells: list[str]) -> str:
    # No rich Table: its columns are known when its last row is, and those of --follow
    # never are; and it folds what is too long, which makes a second line.
    padded = (
        cell + " " * (column.width - cell_len(cell))
        for cell, column in zip(cells, _COLUMNS, strict=True)
    )
    return "  ".join(padded).rstrip()


def _visible(text: str) -> str:
    return "".join(
        f"\\u{ord(char):04x}" if unicodedata.category(char) in _CONTROLS else char for char in text
    )

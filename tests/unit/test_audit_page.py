"""docs/audit-log.md tells of every event, and of every field of an export."""

from __future__ import annotations

import json
import re
from pathlib import Path

from wxauth.v1.admin_service_pb2 import AuditEvent
from wxauth_server.auth import refusal_counts
from wxauth_server.cli.audit_lines import json_line
from wxauth_server.config import Configuration
from wxauth_server.errors import AuthError
from wxauth_server.store.audit import Actor, Event

PAGE = (Path(__file__).parents[2] / "docs" / "audit-log.md").read_text("utf-8")


def rows(section: str) -> list[list[str]]:
    """The cells of the table of a section, without its head."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def test_every_event_is_explained() -> None:
    """In the order of the code, each once, with who can do it."""
    told = rows("Events")
    assert [event for event, *_ in told] == [f"`{event}`" for event in Event]
    for event, when, who, _ in told:
        assert len(when) > 10, event
        assert {name.strip() for name in who.split(",")} <= set(Actor), event


def test_every_field_is_explained() -> None:
    told = [
        name for cell, _ in rows("What an event tells") for name in re.findall(r"`(\w+)`", cell)
    ]
    assert told == list(json.loads(json_line(AuditEvent())))


def test_the_reasons_are_those_of_the_contract() -> None:
    known = {kind.reason_name() for kind in AuthError.__subclasses__()}
    by_throttle = {"ADDRESS", "ALL", "PASSWORD"}
    for event, when, *_ in rows("Events"):
        named = set(re.findall(r"`([A-Z_]{3,})`", when)) - set(Event)
        assert named <= known | by_throttle, event


def test_the_numbers_are_those_of_the_code() -> None:
    assert f"Every {refusal_counts.FLUSH_INTERVAL_S:.0f} seconds" in PAGE
    assert f"At most {refusal_counts.MOST_APART:,} WeChat users" in PAGE
    assert f"keep_days = {Configuration().audit.keep_days}\n" in PAGE

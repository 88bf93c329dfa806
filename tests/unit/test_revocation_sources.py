"""Where sessions end, read from the source: nothing ends one that the log does not tell of."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "wxauth_server"

#: SQL that has the row of a session, or of an app's sessions, say when it ended.
ENDS = re.compile(r"ended_at = :")
#: SQL that asks whether the row of a session says so.
ASKS_THE_ROW = re.compile(r"ended_at\s+IS\b")


def modules_with(pattern: re.Pattern[str]) -> set[str]:
    return {
        str(path.relative_to(SERVER))
        for path in SERVER.rglob("*.py")
        if pattern.search(path.read_text("utf-8"))
    }


def test_sessions_end_in_one_module() -> None:
    """It notes each for the log; whoever writes another way in there notes it too."""
    assert modules_with(ENDS) == {"store/ended_sessions.py"}
    source = (SERVER / "store" / "ended_sessions.py").read_text("utf-8")
    # One of them marks the rows of what an entry has ended before.
    assert source.count("UPDATE sessions SET ended_at") == 2


def test_one_place_knows_what_has_not_ended() -> None:
    """A row alone does not: its whole app may have ended. Indexes and marking look at rows."""
    assert modules_with(ASKS_THE_ROW) == {
        "store/ended_sessions.py",
        "store/migrations.py",
        "store/sessions.py",
    }

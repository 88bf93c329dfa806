"""What the tests of `wxauth accounts import` share: files to import and what was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.fault.seeded_store import rows
from tests.unit.imported import BCRYPT
from tests.wxauth_command import wxauth

IMPORT = ("accounts", "import")
CSV = f"""id,username,nickname,mobile,password_hash,is_active,created
1,ZhangSan,张三,+8613800138000,{BCRYPT},1,2020
2,lisi,,,,0,2021
"""
#: What becomes of CSV.
STORED = [
    ("1", "ZhangSan", "张三", "+8613800138000", f"bcrypt$${BCRYPT}", 0),
    ("2", "lisi", None, None, None, 1),
]


def working_directory(path: Path) -> Path:
    """With an empty data directory in it."""
    (path / ".wxauth").mkdir(mode=0o700)
    return path


def stored(work: Path) -> list[tuple[Any, ...]]:
    return rows(
        work / ".wxauth",
        "SELECT id, username, display_name, phone, password, disabled_at IS NOT NULL"
        " FROM accounts ORDER BY id",
    )


def events(work: Path) -> list[tuple[Any, ...]]:
    return rows(work / ".wxauth", "SELECT event, actor, count FROM audit_events")


def imported(work: Path, *arguments: str | Path, status: int = 0, stdin: bytes = b"") -> str:
    """What an import said: its sum, and then what was on standard error."""
    done = wxauth(*IMPORT, *arguments, cwd=work, stdin=stdin)
    assert done.returncode == status, done
    assert "$2b$" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def write_users(file: Path, count: int) -> None:
    """A CSV file with so many users."""
    with file.open("w") as out:
        out.write("id,username,display_name,phone,password_hash\n")
        for number in range(count):
            out.write(f"u{number},user{number},User {number},+861{number:010},{BCRYPT}\n")

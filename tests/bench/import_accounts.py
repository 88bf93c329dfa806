"""An import of a million users, beside a plain insert of the same rows with sqlite-utils.

Compared is `wxauth accounts import` of a CSV file, from its start to its end as a
process of its own, with `insert_all` of sqlite-utils in the batches that it makes
by itself, as a process of its own that reads the same file with the csv module.
Both write the columns of an account into a new database with the same table and
indexes, and with the same settings: WAL, synchronous=FULL, page cache. The plain
insert checks nothing: it is given the unique form of each username, and hashes in
the form that is stored.
"""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.bench.figures import Figure, Scale
from wxauth_server.store.sqlite import SQLiteStore

MEMORY_TARGET_MIB = 200
RATIO_TARGET = 2.0

_BCRYPT_SIGNS = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def run(scale: Scale) -> Sequence[Figure]:
    """One import and one plain insert, after one another."""
    count = scale.pick(1_000_000, 50_000)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "users.csv"
        _write_users(file, count)
        ours, plain = Path(name) / "ours", Path(name) / "plain"
        for directory in (ours, plain):
            SQLiteStore(directory).close()
        plain_s, _ = _measured("-m", __name__, str(file), str(plain))
        ours_s, memory_mib = _measured(
            "-m", "wxauth_server", "accounts", "import", str(file), "--data", str(ours)
        )
        failed = sum(_count(directory) != count for directory in (ours, plain))
    ratio = ours_s / plain_s
    return [
        Figure(
            f"import of {count:,} users from CSV, next to a plain insert with sqlite-utils",
            f"{ours_s:.0f} s ({count / ours_s:,.0f} rows/s), {ratio:.2f} times its {plain_s:.0f} s",
            f"≤ {RATIO_TARGET:.0f} times",
            ratio <= RATIO_TARGET,
            failed_calls=failed,
        ),
        Figure(
            "memory of the import (most RSS)",
            f"{memory_mib:.0f} MB",
            f"≤ {MEMORY_TARGET_MIB} MB",
            memory_mib <= MEMORY_TARGET_MIB,
        ),
    ]


def _write_users(file: Path, count: int) -> None:
    """Ids in order, usernames and phone numbers in none, and a hash for each."""
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("id", "username", "display_name", "phone", "password_hash"))
        for number in range(count):
            digest = hashlib.sha512(str(number).encode()).digest()
            signs = "".join(_BCRYPT_SIGNS[byte % 64] for byte in digest[:52])
            writer.writerow((
                10_000_000 + number,
                f"user{digest[-8:].hex()}",
                f"张三 {number}",
                f"+8613{number * 7_919 % 1_000_000_000:09}",
                f"$2b$10${signs[:21]}.{signs[21:]}",
            ))  # fmt: skip


def _measured(*arguments: str) -> tuple[float, float]:
    """Seconds that a Python process takes, and its most memory in MiB."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WXAUTH_")}
    kept["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in sys.path if path)
    os.sync()  # what was written before is no part of it
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, *arguments],
        env=kept,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0  # it was waited for
    return time.monotonic() - started, usage.ru_maxrss / 1024


def _count(directory: Path) -> int:
    store = SQLiteStore(directory)
    try:
        [(count,)] = store.read(lambda tx: tx.execute("SELECT COUNT(*) FROM accounts"))
        return int(count)
    finally:
        store.close()


def _insert_plainly(file: Path, directory: Path) -> None:
    store = SQLiteStore(directory)
    try:
        # The very connection that our import writes with: its settings are the same.
        store._writer.table("accounts").insert_all(_plain_rows(file))
    finally:
        store.close()


def _plain_rows(file: Path) -> Iterator[dict[str, object]]:
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield {
                "source": "local",
                "id": row["id"],
                "username": row["username"],
                "username_key": row["username"],
                "display_name": row["display_name"],
                "phone": row["phone"],
                "phone_verified_at": None,
                "password": f"bcrypt$${row['password_hash']}",
                "password_version": 1,
                "created_at": 1,
                "disabled_at": None,
            }


if __name__ == "__main__":
    _insert_plainly(Path(sys.argv[1]), Path(sys.argv[2]))

"""What `wxauth accounts import` says of the rows that it refuses, and what a dry run says."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path

import pytest

from tests.e2e.import_command import (
    CSV,
    IMPORT,
    events,
    imported,
    stored,
    working_directory,
)
from tests.unit.imported import OTHER_BCRYPT
from tests.wxauth_command import refused, wxauth
from wxauth_server.cli.import_report import SHOWN_ROWS


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return working_directory(tmp_path)


BAD = (
    CSV
    + f"""1,ZhangSan,张三,+8613800138000,{OTHER_BCRYPT},1,
3,LISI,,,,,
4,with space,,,,,
5,"two
lines",,,,,
6,short
7,wangwu,,,,,
8,zhaoliu,,,,perhaps,
"""
)


def test_refused_rows_are_told_with_line_and_reason(work: Path) -> None:
    (work / "users.csv").write_text(BAD)
    said = imported(work, "users.csv", status=1)
    assert "Added 3, unchanged 0, refused 6 of 9 rows." in said
    for line in (
        "line 4, id '1': there is an account with the id '1' already, with another password",
        "line 5, id '3': there is an account with the username 'LISI' already, with another id",
        "line 6, id '4': this username is not allowed",
        "line 7, id '5': the username holds a control character",
        "line 9: the row has 2 columns, the header 7",
        "line 11, id '8': enabled is none of true, false",
    ):
        assert f"\n{line}" in said
    assert [row[0] for row in stored(work)] == ["1", "2", "7"]


def test_a_report_has_all_of_them(work: Path) -> None:
    (work / "users.csv").write_text(BAD)
    said = imported(work, "users.csv", "--report", "refused.csv", status=1)
    assert "line 4" not in said
    assert "The refused rows are in refused.csv." in said
    file = work / "refused.csv"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open(newline="") as report:
        told = [*csv.DictReader(report)]
    assert [(row["line"], row["id"], row["username"]) for row in told] == [
        ("4", "1", "ZhangSan"),
        ("5", "3", "LISI"),
        ("6", "4", "with space"),
        ("7", "5", "two\nlines"),
        ("9", "", ""),
        ("11", "8", "zhaoliu"),
    ]
    assert all(row["problem"] for row in told)
    assert "$2b$" not in file.read_text()


def test_json_has_the_sum_and_the_first_refusals(work: Path) -> None:
    """And nothing else is on standard output."""
    (work / "users.csv").write_text(BAD)
    for options, dry_run in ((("--dry-run",), True), (("--report", "refused.csv"), False)):
        done = wxauth(*IMPORT, "users.csv", "--json", *options, cwd=work)
        assert done.returncode == 1
        assert "refused 6 of 9 rows." in done.stderr
        said = json.loads(done.stdout)
        refusals = said.pop("refusals")
        assert said == {
            "added": 3,
            "unchanged": 0,
            "refused": 6,
            "dry_run": dry_run,
            "complete": True,
        }
        assert [(each["line"], each["id"], each["username"]) for each in refusals[-2:]] == [
            (9, None, None),
            (11, "8", "zhaoliu"),
        ]
        assert refusals[-2]["problem"] == "the row has 2 columns, the header 7"

    bad = "".join(f"{number},a b\n" for number in range(100, 105 + SHOWN_ROWS))
    done = wxauth(*IMPORT, "-", "--format", "csv", "--json", cwd=work, stdin="id,username\n" + bad)
    said = json.loads(done.stdout)
    assert (said["refused"], len(said["refusals"])) == (5 + SHOWN_ROWS, SHOWN_ROWS)


def test_json_of_an_import_that_does_not_come_to_the_end(work: Path) -> None:
    objects = (f'{{"id": {number}, "username": "u{number}"}}' for number in range(300))
    (work / "users.json").write_text(f"[{','.join(objects)}")
    done = wxauth(*IMPORT, "users.json", "--json", cwd=work)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["refused"], said["complete"]) == (0, False)
    assert said["added"] == len(stored(work)) > 0


def test_no_more_than_twenty_are_shown(work: Path) -> None:
    bad = "".join(f"{number},a b\n" for number in range(SHOWN_ROWS + 5))
    (work / "users.csv").write_text("id,username\n" + bad)
    said = imported(work, "users.csv", status=1)
    assert said.count("this username is not allowed") == SHOWN_ROWS
    assert "and 5 more: --report FILE lists all of them." in said


def test_a_terminal_is_told_no_control_characters(work: Path) -> None:
    (work / "users.jsonl").write_text(
        '{"id": 1, "username": "a", "\\u001b[31mred": 1}\n'
        '{"id": "\\u001b[31m", "username": "\\ud800"}'
    )
    said = imported(work, "users.jsonl", "--report", "refused.csv", status=1)
    said += imported(work, "users.jsonl", status=1)
    said += imported(work, "users.jsonl", "--json", status=1)
    assert "\x1b" not in said
    assert r"\ud800" in (work / "refused.csv").read_text()


def test_a_report_does_not_overwrite_the_file(work: Path) -> None:
    (work / "users.csv").write_text(CSV)
    (work / "link.csv").symlink_to("users.csv")
    done = wxauth(*IMPORT, "users.csv", "--report", "link.csv", cwd=work)
    refused(done, "--report would overwrite users.csv")
    done = wxauth(*IMPORT, "users.csv", "--report", "no/such/place", cwd=work)
    refused(done, "no/such/place cannot be written: No such file or directory")
    assert (work / "users.csv").read_text() == CSV
    assert stored(work) == []


def test_a_dry_run_says_what_would_become_of_each_row(work: Path) -> None:
    (work / "users.csv").write_text(BAD)
    said = imported(work, "users.csv", "--dry-run", status=1)
    assert "Would add 3, unchanged 0, refused 6 of 9 rows." in said
    assert list((work / ".wxauth").iterdir()) == []

    imported(work, "users.csv", status=1)
    before = (stored(work), events(work))
    said = imported(work, "users.csv", "--dry-run", status=1)
    assert "Would add 0, unchanged 3, refused 6 of 9 rows." in said
    assert (stored(work), events(work)) == before


def test_a_dry_run_notices_what_is_far_apart_in_the_file(work: Path) -> None:
    between = "".join(f"{number},u{number}\n" for number in range(2_000))
    (work / "users.csv").write_text(f"id,username\na,Same\n{between}b,same\na,Same\n")
    said = imported(work, "users.csv", "--dry-run", status=1)
    assert "Would add 2,001, unchanged 1, refused 1 of 2,003 rows." in said
    assert "line 2003, id 'b': there is an account with the username 'same'" in said
    assert list((work / ".wxauth").iterdir()) == []

"""`wxauth accounts import --server`: through the AdminService of a server that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.command_data import ANY_PORT, CHEAP, make_data
from tests.e2e.import_command import CSV, IMPORT, STORED, events, imported, stored, write_users
from tests.wxauth_command import ready, refused, running, wxauth

#: What `make_data` has put there.
BEFORE = ["1"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A working directory, and the address of the server that runs on its data."""
    make_data(tmp_path)
    (tmp_path / "wxauth.toml").write_text("[grpc]\nlame_duck_s = 0\n")
    with running("serve", "--grpc", ANY_PORT, cwd=tmp_path, variables=CHEAP) as server:
        address = ready(server)
        CANARY.keep((tmp_path / ".wxauth" / "admin.token").read_text().strip())
        yield tmp_path, address
        assert server.stop() == 0
        assert "Traceback" not in server.said()


def test_rows_are_added_unchanged_and_refused(served: tuple[Path, str]) -> None:
    work, address = served
    bad = CSV.replace("\n1,ZhangSan", "\n10,WangWu") + "3,LISI,,,,,\n4,a b,,,,,\n5,c,,,,,\n"
    (work / "users.csv").write_text(bad)
    at_server = ("users.csv", "--server", address)

    said = imported(work, *at_server, "--dry-run", status=1)
    assert "Would add 3, unchanged 0, refused 2 of 5 rows." in said
    assert [row[0] for row in stored(work)] == BEFORE

    said = imported(work, *at_server, status=1)
    assert "Added 3, unchanged 0, refused 2 of 5 rows." in said
    assert "line 4, id '3': there is an account with the username 'LISI' already" in said
    assert "line 5, id '4': this username is not allowed" in said
    assert [row[2:] for row in stored(work) if row[0] in {"10", "2"}] == [row[2:] for row in STORED]
    assert events(work)[-1] == ("ACCOUNTS_IMPORTED", "admin", 3)

    said = imported(work, *at_server, status=1)
    assert "Added 0, unchanged 3, refused 2 of 5 rows." in said


def test_a_dry_run_notices_what_is_far_apart(served: tuple[Path, str]) -> None:
    work, address = served
    between = "".join(f"u{number},u{number}\n" for number in range(600))
    (work / "users.csv").write_text(f"id,username\na,Same\n{between}b,same\n")
    said = imported(work, "users.csv", "--server", address, "--dry-run", status=1)
    assert "Would add 601, unchanged 0, refused 1 of 602 rows." in said
    assert [row[0] for row in stored(work)] == BEFORE


def test_requests_are_as_large_as_they_may_be(served: tuple[Path, str]) -> None:
    """Neither many accounts nor long ones are too much for one of them."""
    work, address = served
    write_users(work / "users.csv", 1_000)
    with (work / "users.csv").open("a") as out:
        for number in range(300):
            long = f"{number:03}" + "名" * 84
            out.write(f"{long[:42]},{long},{long},,\n")
        out.write(f"{'x' * 60_000},{'y' * 5_000},,,\n")
    said = imported(work, "users.csv", "--server", address, status=1)
    assert "Added 1,300, unchanged 0, refused 1 of 1,301 rows." in said
    assert "the id is longer than 128 bytes" in said


def test_a_server_that_is_not_there(served: tuple[Path, str], tmp_path: Path) -> None:
    work, address = served
    (work / "users.csv").write_text(CSV)
    (work / "other.token").write_text("not the token of this server, which is another one")
    (work / "other.token").chmod(0o600)
    at_server = (*IMPORT, "users.csv", "--server")
    refused(wxauth(*at_server, "127.0.0.1:1", cwd=work), "no answer of a wxauth server")
    done = wxauth(*at_server, address, "--token-file", "other.token", cwd=work)
    refused(done, "token")
    done = wxauth(*IMPORT, "users.csv", "--token-file", "other.token", cwd=work)
    assert (done.returncode, "--token-file needs --server" in done.stderr) == (2, True)
    assert [row[0] for row in stored(work)] == BEFORE

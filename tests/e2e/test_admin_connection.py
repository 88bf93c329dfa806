"""The way of a command to a server, and what it asks the operator."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.command_data import ANY_PORT, make_data
from tests.command_ways import Run
from tests.wxauth_command import PATIENCE_S, WXAUTH, done_well, environment, refused, wxauth
from wxauth_server.config import DEMO_APP_ID


def test_another_token_is_refused(served: tuple[Path, str], tmp_path: Path) -> None:
    directory, address = served
    ask = ("accounts", "list", "--server", address)
    wrong = tmp_path / "wrong"
    wrong.write_text("wxa_" + "A" * 43)
    wrong.chmod(0o600)
    refused(wxauth(*ask, "--token-file", wrong, cwd=directory), "no caller with this token")
    wrong.chmod(0o644)
    refused(wxauth(*ask, "--token-file", wrong, cwd=directory), "open to others", "chmod 600")
    refused(wxauth(*ask, "--token-file", "gone", cwd=directory), "gone cannot be read")
    wrong.write_text("nonsense")
    wrong.chmod(0o600)
    refused(wxauth(*ask, "--token-file", wrong, cwd=directory), "wrong holds no token")
    refused(wxauth(*ask, cwd=tmp_path), "admin.token does not exist")
    token = directory / ".wxauth" / "admin.token"
    assert "zhangsan" in done_well(wxauth(*ask, "--token-file", token, cwd=tmp_path))
    assert "zhangsan" in done_well(wxauth(*ask, "--data", token.parent, cwd=tmp_path))


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("127.0.0.1:1", "no answer of a wxauth server at 127.0.0.1:1"),
        ("192.0.2.1:50051", "Set WXAUTH_CA_FILE"),
        ("0.0.0.0:50051", "Set WXAUTH_CA_FILE"),
    ],
)
def test_an_address_where_no_server_is(
    served: tuple[Path, str], address: str, problem: str
) -> None:
    refused(wxauth("accounts", "list", "--server", address, cwd=served[0]), problem)


def test_variables_that_do_not_say_who_calls(served: tuple[Path, str], tmp_path: Path) -> None:
    """The token of the data directory is for a server on this machine."""
    list_accounts = ("accounts", "list", "--server", "192.0.2.1:50051")
    variables = {"WXAUTH_CA_FILE": str(Authority(tmp_path).ca)}
    nobody = wxauth(*list_accounts, cwd=served[0], variables=variables)
    refused(nobody, "nothing proves to 192.0.2.1:50051", "WXAUTH_TOKEN_FILE")
    half = wxauth(*list_accounts, cwd=served[0], variables=variables | {"WXAUTH_KEY_FILE": "x"})
    refused(half, "certificate_file and key_file go together")


def test_tls_with_a_server_that_has_none(served: tuple[Path, str], tmp_path: Path) -> None:
    variables = {"WXAUTH_CA_FILE": str(Authority(tmp_path).ca)}
    asked = wxauth("accounts", "list", "--server", served[1], cwd=served[0], variables=variables)
    refused(asked, f"no answer of a wxauth server at {served[1]}", "without TLS")


def test_a_text_that_is_not_utf8(run: Run) -> None:
    refused(run("accounts", "show", os.fsdecode(b"\xff")), "not UTF-8")
    refused(run("accounts", "add", os.fsdecode(b"\xff"), "--no-password"), "not UTF-8")


@pytest.mark.parametrize(("typed", "live"), [("y", 0), ("n", 6)])
def test_ending_all_sessions_of_an_app_asks_first(
    run: Run, served: tuple[Path, str], typed: str, live: int
) -> None:
    ours, its = pty.openpty()
    with subprocess.Popen(
        [*WXAUTH, "sessions", "end", "--app", DEMO_APP_ID],
        cwd=served[0],
        env=environment(),
        stdin=its,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        os.write(ours, typed.encode() + b"\n")
        out, err = process.communicate(timeout=PATIENCE_S)
    os.close(its)
    os.close(ours)
    assert f"End all sessions of {DEMO_APP_ID}?" in err
    assert ("6 sessions ended" in out) == (live == 0)
    assert process.returncode == (0 if live == 0 else 1)
    assert len(json.loads(done_well(run("sessions", "list", "--live", "--json")))) == live


def test_a_server_starts_with_the_token_that_is_there(tmp_path: Path) -> None:
    make_data(tmp_path)
    token = tmp_path / ".wxauth" / "admin.token"
    token.write_text("nonsense")
    token.chmod(0o600)
    refused(wxauth("serve", "--grpc", ANY_PORT, cwd=tmp_path), "admin.token holds no token")
    assert token.read_text() == "nonsense"

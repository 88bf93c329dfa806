"""`wxauth accounts set-password`, `set-phone`, `disable` and `enable`."""

from __future__ import annotations

from pathlib import Path

from tests.command_data import CHEAP, PASSWORD
from tests.wxauth_command import done_well, listed, refused, wxauth
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.store.accounts import insert_account
from wxauth_server.store.sqlite import SQLiteStore


def test_an_account_that_is_not_there(data: Path) -> None:
    for command in ("disable", "enable"):
        refused(wxauth("accounts", command, "nobody", cwd=data), "username 'nobody'")
        refused(wxauth("accounts", command, "--id", "7", cwd=data), "id '7'")
    set_password = ("accounts", "set-password", "nobody", "--password-stdin")
    refused(wxauth(*set_password, cwd=data, stdin=PASSWORD), "username 'nobody'")


def test_a_phone_number_is_set_verified_unmarked_and_removed(data: Path) -> None:
    def listed_phone() -> tuple[str | None, bool]:
        [account] = listed("accounts", "list", cwd=data)
        return account["phone"], account["phone_verified_at"] is not None

    number = "+8613800138000"
    set_phone = ("accounts", "set-phone")
    said = done_well(wxauth(*set_phone, "zhangsan", "--phone", number, "--verified", cwd=data))
    assert said == f"The account zhangsan has the phone number {number} (verified).\n"
    assert listed_phone() == (number, True)
    assert f"{number} (verified)" in done_well(wxauth("accounts", "list", cwd=data))

    wrong = ("--phone", "13800138000", "--verified")
    refused(wxauth(*set_phone, "zhangsan", *wrong, cwd=data), "E.164")
    assert listed_phone() == (number, True)

    said = done_well(wxauth(*set_phone, "--id", "1", "--phone", number, cwd=data))
    assert said == f"The account zhangsan has the phone number {number}.\n"
    assert listed_phone() == (number, False)
    assert "verified" not in done_well(wxauth("accounts", "list", cwd=data))

    assert "has no phone number." in done_well(wxauth(*set_phone, "--id", "1", "--none", cwd=data))
    assert "already" in done_well(wxauth(*set_phone, "--id", "1", "--none", cwd=data))
    assert listed_phone() == (None, False)
    refused(wxauth(*set_phone, "nobody", "--none", cwd=data), "username 'nobody'")


def test_the_help_says_what_a_verified_number_does(tmp_path: Path) -> None:
    assert "bind_by_phone" in done_well(wxauth("accounts", "set-phone", "--help", cwd=tmp_path))


def test_a_password_that_nobody_can_log_in_with(data: Path) -> None:
    store = SQLiteStore(data / ".wxauth")
    store.write(
        lambda tx: insert_account(
            tx,
            source=LOCAL,
            account_id="registered",
            username=None,
            username_key=None,
            display_name=None,
            phone=None,
            password=None,
            now_ms=1,
        )
    )
    store.close()

    def set_password(account_id: str) -> str:
        command = ("accounts", "set-password", "--id", account_id, "--password-stdin")
        return done_well(wxauth(*command, cwd=data, stdin="another one\n", variables=CHEAP))

    assert "Nobody can log in with it: the account has no username." in set_password("registered")
    assert "Nobody" not in set_password("1")


def test_disabling_and_enabling(data: Path) -> None:
    assert "Disabled" in done_well(wxauth("accounts", "disable", "zhangsan", cwd=data))
    assert "already" in done_well(wxauth("accounts", "disable", "--id", "1", cwd=data))
    assert "disabled" in done_well(wxauth("accounts", "list", cwd=data))
    assert "Enabled" in done_well(wxauth("accounts", "enable", "ZHANGSAN", cwd=data))
    assert "already" in done_well(wxauth("accounts", "enable", "--id", "1", cwd=data))

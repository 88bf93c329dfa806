"""Commands on a data directory and through a server: the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command_ways import WAYS, Run, run_on
from tests.wxauth_command import done_well, refused
from wxauth_server.config import DEMO_APP_ID


def timeless(text: str) -> str:
    return re.sub(r"\d{4}-\d\d-\d\d[T ][\d:.Z]+", "TIME", text)


A, B = "1a".ljust(22, "_"), "2b".ljust(22, "_")

#: What each command says, in lines that stay the same whichever way it goes.
SAID: list[tuple[tuple[str, ...], str, str]] = [
    (("accounts", "list", "--limit", "2"), "", "There are more; a --limit above 2 shows them."),
    (("accounts", "list", "--deleted", "--json"), "", '"id": "4"'),
    (("sessions", "list", "--live"), "", "a phone  192.0.2.7"),
    (("accounts", "show", "user2"), "", "Username  user2"),
    (("accounts", "add", "lisi", "--id", "9", "--no-password"), "",
     "Added the account lisi with the id 9.\n"),
    (("accounts", "set-password", "zhangsan", "--password-stdin"), "another one\n",
     "Set the password of the account zhangsan; 2 sessions ended.\n"),
    (("accounts", "set-password", "--id", "1", "--password-stdin", "--keep-session", A),
     "another one\n", "Set the password of the account zhangsan; 1 session ended.\n"),
    (("accounts", "set-phone", "user2", "--phone", "+8613800138000"), "",
     "The account user2 has the phone number +8613800138000.\n"),
    (("accounts", "set-username", "user2", "--to", "User.Two"), "",
     "The account 2 has the username User.Two.\n"),
    (("accounts", "set-username", "--id", "2", "--to", "user2"), "",
     "The account 2 has the username user2 already.\n"),
    (("accounts", "disable", "user3"), "", "Disabled the account user3; 2 sessions ended.\n"),
    (("accounts", "enable", "--id", "3"), "", "The account user3 is enabled already.\n"),
    (("accounts", "unlock", "nobody"), "", "Nothing was held against nobody.\n"),
    (("bindings", "list", "--account", "USER2"), "", "o2"),
    (("bindings", "list", "--app", DEMO_APP_ID, "--openid", "o3", "--json"), "", '"id": "3"'),
    (("bindings", "end", DEMO_APP_ID, "o1"), "",
     "Ended the binding to the account local 1; 2 sessions ended.\n"),
    (("sessions", "list", "--live", "--account-id", "2"), "", B),
    (("sessions", "list", "--app", "wx9", "--json"), "", "[]"),
    (("sessions", "end", B), "", "1 session ended.\n"),
    (("sessions", "end", "--account", "user2"), "", "2 sessions ended.\n"),
    (("sessions", "end", "--app", DEMO_APP_ID, "--yes"), "", "6 sessions ended.\n"),
    (("accounts", "add", "lisi", "--id", "9", "--no-password", "--json"), "", '"id": "9"'),
    (("accounts", "disable", "user3", "--json"), "", '"sessions_ended": 2'),
    (("accounts", "unlock", "nobody", "--json"), "", '"changed": false'),
    (("sessions", "end", B, "--json"), "", '"sessions_ended": 1'),
    (("bindings", "end", DEMO_APP_ID, "o1", "--json"), "", '"openid": "o1"'),
]  # fmt: skip

LEFT = "the user of the account with the id '4' has left"

#: What is refused, with the one line that says why.
REFUSED: list[tuple[tuple[str, ...], str, str]] = [
    (("accounts", "show", "nobody"), "", "there is no account with the username 'nobody'"),
    (("accounts", "show", "--id", "7"), "", "there is no account with the id '7'"),
    (("accounts", "add", "x", "--id", "1", "--no-password"), "",
     "there is an account with the id '1' already"),
    (("accounts", "add", "User2", "--no-password"), "",
     "there is an account with the username 'User2' already"),
    (("accounts", "add", "a b", "--no-password"), "", "username: this username is not allowed"),
    (("accounts", "add", "lisi", "--password-stdin"), "short\n", "password: a password needs 8"),
    (("accounts", "add", "lisi", "--hash-stdin"), "nonsense\n", "password_hash: this is no bcrypt"),
    (("accounts", "set-password", "user2", "--password-stdin"), "user2123\n", "the username"),
    (("accounts", "set-password", "zhangsan", "--password-stdin", "--keep-session", "x"),
     "another one\n", "keep_session_handle: no live session of this account"),
    (("accounts", "set-phone", "user2", "--phone", "1"), "", "phone: a phone number is written"),
    (("accounts", "set-username", "user2", "--to", "USER3"), "",
     "there is an account with the username 'USER3' already"),
    (("accounts", "disable", "--id", "1", "--source", "crm"), "", "there is local"),
    (("accounts", "enable", "nobody"), "", "there is no account with the username 'nobody'"),
    (("bindings", "list", "--account", "nobody"), "", "no account has this username"),
    (("bindings", "end", DEMO_APP_ID, "o9"), "", f"o9 has no binding in {DEMO_APP_ID}"),
    (("sessions", "end", "A" * 22), "", f"no session with the handle '{'A' * 22}'"),
    (("sessions", "end", "--account", "nobody"), "",
     "there is no account with the username 'nobody'"),
    (("sessions", "end", "--app", DEMO_APP_ID), "", "use --yes"),
    (("sessions", "end", "--app", "wx9", "--yes"), "", "app_id: this server does not serve this"),
    (("accounts", "enable", "--id", "4"), "", LEFT),
    (("accounts", "disable", "--id", "4"), "", LEFT),
    (("accounts", "set-password", "--id", "4", "--password-stdin"), "another one\n", LEFT),
    (("accounts", "set-username", "--id", "4", "--to", "x"), "", LEFT),
    (("accounts", "set-phone", "--id", "4", "--none"), "", LEFT),
    (("sessions", "end", "--account-id", "4"), "", LEFT),
]  # fmt: skip


def name_of(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("command", "stdin", "said"), SAID, ids=name_of)
def test_what_is_done(run: Run, command: tuple[str, ...], stdin: str, said: str) -> None:
    assert said in done_well(run(*command, stdin=stdin))


@pytest.mark.parametrize(("command", "stdin", "problem"), REFUSED, ids=name_of)
def test_what_is_refused(
    run: Run,
    events: Callable[[], list[tuple[Any, ...]]],
    command: tuple[str, ...],
    stdin: str,
    problem: str,
) -> None:
    refused(run(*command, stdin=stdin), problem)
    assert events() == []


@pytest.mark.parametrize(
    "command",
    [
        ("accounts", "list"),
        ("accounts", "list", "--json"),
        ("accounts", "show", "zhangsan"),
        ("bindings", "list", "--json"),
        ("sessions", "list"),
        ("sessions", "list", "--json"),
        ("sessions", "end", "--account", "nobody"),
        ("accounts", "disable", "zhangsan", "--json"),
    ],
    ids=" ".join,
)
def test_both_ways_print_the_same(served: tuple[Path, str], command: tuple[str, ...]) -> None:
    direct, asked = (run_on(served, way)(*command) for way in WAYS)
    assert len(direct.stdout + direct.stderr) > 20
    assert timeless(direct.stdout) == timeless(asked.stdout)
    assert (direct.stderr, direct.returncode) == (asked.stderr, asked.returncode)


def test_who_did_it_is_told(
    run: Run, events: Callable[[], list[tuple[Any, ...]]], request: pytest.FixtureRequest
) -> None:
    done_well(run("accounts", "disable", "zhangsan"))
    actor = "admin" if "--server" in request.node.name else "command"
    assert events() == [("ACCOUNT_DISABLED", actor)]

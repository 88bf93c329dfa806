"""A secret in an argument of a command: it is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.wxauth_command import refused, wxauth
from wxauth_server.callers.tokens import ADMIN_PREFIX, CALLER_PREFIX, new_token
from wxauth_server.session_id import new_session_id


@pytest.mark.parametrize(
    "arguments",
    [
        ("sessions", "list", "--server", "127.0.0.1:1", "--token={}"),
        ("callers", "revoke", "{}"),
        ("callers", "add", "x", "--role", "service", "--output", "{}"),
        ("gateway", "authorization: Bearer {}"),
        ("{}",),
        ("-h", "{}"),
    ],
    ids=" ".join,
)
def test_a_token_in_an_argument_is_refused_before_anything(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    token = CANARY.keep(new_token(CALLER_PREFIX))
    done = wxauth(*(part.format(token) for part in arguments), cwd=tmp_path)
    line = refused(done, "list of processes", "callers rotate", "WXAUTH_TOKEN_FILE", status=2)
    assert token not in line
    assert list(tmp_path.iterdir()) == []


def test_other_secrets_in_an_argument(tmp_path: Path) -> None:
    admin, session = CANARY.keep(new_token(ADMIN_PREFIX)), CANARY.keep(new_session_id())
    refused(wxauth("accounts", "show", admin, cwd=tmp_path), "remove admin.token", status=2)
    refused(wxauth("sessions", "end", session, cwd=tmp_path), "handle", status=2)

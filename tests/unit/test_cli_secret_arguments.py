"""Secrets among arguments: found wherever they stand, and not repeated."""

from __future__ import annotations

import pytest

from tests.canary import CANARY
from wxauth_server.callers.tokens import ADMIN_PREFIX, CALLER_PREFIX, new_token
from wxauth_server.cli.secret_arguments import secret_refusal
from wxauth_server.session_id import new_session_handle, new_session_id


@pytest.mark.parametrize(
    "form", ["{}", "--token={}", "Bearer {}", "authorization: bearer {}", "{}\n", "密{}码", "x{}x"]
)
@pytest.mark.parametrize(
    ("secret", "what"),
    [
        (new_token(CALLER_PREFIX), "wxauth callers rotate NAME"),
        (new_token(ADMIN_PREFIX), "remove admin.token"),
        (new_session_id(), "end that session now"),
    ],
    ids=["caller", "admin", "session"],
)
def test_a_secret_is_refused_without_being_repeated(form: str, secret: str, what: str) -> None:
    CANARY.keep(secret)
    refusal = secret_refusal(["callers", "list", form.format(secret), "more"])
    assert refusal is not None
    assert what in refusal
    assert secret[4:] not in refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "argument",
    [
        "wxc_",
        "wxc_" + "a" * 42,
        "wxd_" + "a" * 43,
        "WXC_" + "a" * 43,
        "wxdec0de0000000001",
        "/srv/wxc_tokens/orders.token",
        pytest.param(new_session_handle(), id="handle"),
        "\udcff",
    ],
)
def test_what_is_no_secret_passes(argument: str) -> None:
    assert secret_refusal([argument, f"--file={argument}"]) is None

"""Callers for the tests: a file of them, and their tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.canary import CANARY
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token


def a_token() -> str:
    return CANARY.keep(new_token(CALLER_PREFIX))


def caller(
    name: str,
    *roles: Role,
    token: str = "",
    ends_ms: int | None = None,
    certificate_names: Iterable[str] = (),
) -> Caller:
    tokens = (CallerToken(digest_of(token), created_ms=0, ends_ms=ends_ms),) if token else ()
    return Caller(name, frozenset(roles), 0, tokens, tuple(certificate_names))


def write_callers(file: Path, *callers: Caller) -> None:
    """As `wxauth callers` does it."""
    with changing_callers(file) as changing:
        changing.replace(CallerBook(callers))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    """The metadata of a call with this token."""
    return (("authorization", f"Bearer {token}"),)

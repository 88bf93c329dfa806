"""A real server with TLS that asks who calls, for the tests of clients that prove it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from tests.canary import CANARY
from tests.certificates import Authority, Issued
from tests.running_server import running_server
from tests.sandbox_server import RunningSandbox
from wxauth_client import Credentials
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, digest_of, new_token


@dataclass(frozen=True)
class Where:
    """What a test has to make servers in."""

    directory: Path
    sandbox: RunningSandbox
    loop: asyncio.AbstractEventLoop


def caller_token() -> str:
    return CANARY.keep(new_token(CALLER_PREFIX))


def caller(name: str, role: Role, *tokens: str, certificate: str = "") -> Caller:
    kept = tuple(CallerToken(digest_of(token), 1) for token in tokens)
    return Caller(name, frozenset({role}), 1, kept, (certificate,) if certificate else ())


@contextmanager
def secured_server(
    where: Where,
    issued: Issued,
    *callers: Caller,
    client_ca: Path | None = None,
    **options: Any,
) -> Iterator[str]:
    """The address of a server with this certificate; `client_ca` makes it ask for one (mTLS).

    It takes no calls but of these callers.
    """
    data = where.directory / f"data-{issued.certificate.stem}-{client_ca is not None}"
    data.mkdir(mode=0o700)
    with changing_callers(data / "callers.json") as file:
        file.replace(CallerBook(callers or [caller("nobody", Role.ADMIN, caller_token())]))
    tls = {"certificate_file": issued.certificate, "key_file": issued.key}
    if client_ca is not None:
        tls["client_ca_file"] = client_ca
    with running_server(
        data,
        where.sandbox,
        where.loop,
        credentials=grpc.ssl_channel_credentials(issued.certificate.read_bytes()),
        grpc={"tls": tls, "require_callers": True},
        **options,
    ) as running:
        yield running.address


def shown(authority: Authority, own: Issued | None = None, **rest: Any) -> Credentials:
    """Credentials that trust this authority and show this certificate."""
    if own is not None:
        rest |= {"certificate_file": own.certificate, "key_file": own.key}
    return Credentials(ca_file=authority.ca, **rest)

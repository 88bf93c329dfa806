"""The callers: that those who have to prove themselves can."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime

from wxauth_server.callers.caller import SERVER_ADMIN_NAME, Caller, Role
from wxauth_server.callers.callers_file import CallersUnusable, load_callers
from wxauth_server.doctor.findings import (
    NO_SERVER,
    Check,
    Finding,
    Installation,
    day,
    ok,
    problem,
    skipped,
    warning,
)

_DAY_MS = 86_400_000
#: A token that ends within so long should have been exchanged already.
TOKEN_ENDS_SOON_MS = 7 * _DAY_MS


def check_callers(installation: Installation) -> Iterator[Finding]:
    if not installation.has_server:
        yield skipped(Check.CALLERS_FILE, NO_SERVER)
        return
    path = installation.configuration.callers_file
    required = installation.configuration.grpc.callers_required
    try:
        callers = load_callers(path).callers
    except CallersUnusable as error:
        yield problem(
            Check.CALLERS_FILE,
            str(error),
            f"put back a good copy of {path}, mode 0600, or move it away and make the callers "
            f"anew: {_gateway(installation)}",
        )
        yield skipped(Check.CALLERS_ROLES, "the callers cannot be read")
        return
    if not callers:
        if required:
            what = "names no caller" if os.path.lexists(path) else "does not exist"
            yield problem(
                Check.CALLERS_FILE,
                f"{path} {what}, and callers are required",
                f"{_gateway(installation)}, and one with --role service for each internal service",
            )
        else:
            yield skipped(Check.CALLERS_FILE, "on loopback, and callers are not required")
        return
    yield ok(Check.CALLERS_FILE, f"{path} names {len(callers)}")
    yield _roles(installation, callers, required=required)
    yield from _tokens(installation, callers)
    yield from _certificates(installation, callers)


def _gateway(installation: Installation) -> str:
    return installation.command("callers add gateway --role gateway")


def _roles(installation: Installation, callers: tuple[Caller, ...], *, required: bool) -> Finding:
    there = frozenset[Role]().union(*(caller.roles for caller in callers))
    shown = ", ".join(sorted(there))
    if Role.GATEWAY not in there and required:
        return warning(
            Check.CALLERS_ROLES,
            "no caller has the role gateway: nobody can log in",
            _gateway(installation),
        )
    if Role.SERVICE not in there:
        return ok(
            Check.CALLERS_ROLES,
            f"roles of the callers: {shown}",
            "for an internal service that validates sessions: "
            + installation.command("callers add NAME --role service"),
        )
    if Role.ADMIN not in there:
        return ok(
            Check.CALLERS_ROLES,
            f"roles of the callers: {shown}",
            "for an operator on another machine: "
            + installation.command("callers add NAME --role admin")
            + f"; the server's own {SERVER_ADMIN_NAME} is for this one",
        )
    return ok(Check.CALLERS_ROLES, f"roles of the callers: {shown}")


def _tokens(installation: Installation, callers: tuple[Caller, ...]) -> Iterator[Finding]:
    now_ms = installation.clock.now_ms()
    in_order = True
    for caller in callers:
        if caller.certificate_names:
            continue
        rotate = installation.command(f"callers rotate {caller.name}")
        good = [token for token in caller.tokens if token.is_good(now_ms)]
        if not good:
            in_order = False
            yield problem(
                Check.CALLERS_TOKENS,
                f"{caller.name} has no token that is good: it cannot call",
                f"{rotate}, or {installation.command(f'callers revoke {caller.name}')}",
            )
            continue
        ends = [token.ends_ms for token in good if token.ends_ms is not None]
        if not ends or min(ends) - now_ms > TOKEN_ENDS_SOON_MS:
            continue
        in_order = False
        end = day(datetime.fromtimestamp(min(ends) / 1000, UTC))
        if len(ends) == len(good) and max(ends) - now_ms <= TOKEN_ENDS_SOON_MS:
            yield warning(
                Check.CALLERS_TOKENS,
                f"the last token of {caller.name} ends on {end}",
                f"{rotate}, and give it the new one",
            )
        else:
            yield warning(
                Check.CALLERS_TOKENS,
                f"a former token of {caller.name} ends on {end}",
                f"see that {caller.name} uses the newest one everywhere",
            )
    if in_order:
        yield ok(Check.CALLERS_TOKENS, "every caller with tokens has one that stays good")


def _certificates(installation: Installation, callers: tuple[Caller, ...]) -> Iterator[Finding]:
    tls = installation.configuration.grpc.tls
    asks = tls is not None and tls.client_ca_file is not None
    by_certificate = [caller.name for caller in callers if caller.certificate_names]
    if by_certificate and not asks:
        yield problem(
            Check.CALLERS_CERTIFICATES,
            f"{', '.join(by_certificate)}: proved by a certificate, which the server does not ask "
            "for",
            "set grpc.tls.client_ca_file, after which every client needs a certificate, or make "
            "these callers anew with a token",
        )
    elif asks and not by_certificate:
        yield ok(
            Check.CALLERS_CERTIFICATES,
            "every client needs a certificate, and no caller is proved by one",
            "a caller can do without a token: "
            + installation.command("callers add NAME --role … --certificate-name NAME"),
        )
    else:
        yield ok(Check.CALLERS_CERTIFICATES, "what proves the callers is asked for")

"""The callers: that those who have to prove themselves can."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from wxauth_server.callers.caller import SERVER_ADMIN_NAME, Caller, Role
from wxauth_server.callers.callers_file import CallersUnusable, load_callers
from wxauth_server.doctor.findings import (
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
    path = installation.configuration.callers_file
    required = installation.configuration.grpc.callers_required
    try:
        callers = load_callers(path).callers
    except CallersUnusable as error:
        yield problem(
            Check.CALLERS_FILE,
            str(error),
            f"put back a good copy of {path}, mode 0600, or make the callers anew with wxauth "
            "callers add",
        )
        yield skipped(Check.CALLERS_ROLES, "the callers cannot be read")
        return
    if not callers:
        if required:
            yield problem(
                Check.CALLERS_FILE,
                f"{path} names no caller, and callers are required",
                "wxauth callers add gateway --role gateway, and one with --role service for each "
                "internal service",
            )
        else:
            yield skipped(Check.CALLERS_FILE, "on loopback, and callers are not required")
        return
    yield ok(Check.CALLERS_FILE, f"{path} names {len(callers)}")
    yield from _roles(callers, required=required)
    yield from _tokens(callers, installation.clock.now_ms())
    yield from _certificates(installation, callers)


def _roles(callers: tuple[Caller, ...], *, required: bool) -> Iterator[Finding]:
    there = frozenset[Role]().union(*(caller.roles for caller in callers))
    shown = ", ".join(sorted(there))
    if Role.GATEWAY not in there and required:
        yield warning(
            Check.CALLERS_ROLES,
            "no caller has the role gateway: nobody can log in",
            "wxauth callers add gateway --role gateway",
        )
    elif Role.SERVICE not in there:
        yield ok(
            Check.CALLERS_ROLES,
            f"roles of the callers: {shown}",
            "for an internal service that validates sessions: wxauth callers add NAME "
            "--role service",
        )
    elif Role.ADMIN not in there:
        yield ok(
            Check.CALLERS_ROLES,
            f"roles of the callers: {shown}",
            "for an operator on another machine: wxauth callers add NAME --role admin; "
            f"the server's own {SERVER_ADMIN_NAME} is for this one",
        )
    else:
        yield ok(Check.CALLERS_ROLES, f"roles of the callers: {shown}")


def _tokens(callers: tuple[Caller, ...], now_ms: int) -> Iterator[Finding]:
    in_order = True
    for caller in callers:
        if caller.certificate_names:
            continue
        good = [token for token in caller.tokens if token.is_good(now_ms)]
        if not good:
            in_order = False
            yield problem(
                Check.CALLERS_TOKENS,
                f"{caller.name} has no token that is good: it cannot call",
                f"wxauth callers rotate {caller.name}, or wxauth callers revoke {caller.name}",
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
                f"wxauth callers rotate {caller.name}, and give it the new one",
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
            "a caller can do without a token: wxauth callers add NAME --role … "
            "--certificate-name NAME",
        )
    else:
        yield ok(Check.CALLERS_CERTIFICATES, "what proves the callers is asked for")

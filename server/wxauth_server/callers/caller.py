"""A caller: a service of the company's that calls wxauth, or one of its operators."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from wxauth_server.callers.tokens import digest_of

NAME_FORM = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


class Role(StrEnum):
    """What a caller may do; rpc/callers.py says which methods that is."""

    #: Forward what mini-programs send: AuthService and WeChatService.
    GATEWAY = "gateway"
    #: Ask whose session it is.
    SERVICE = "service"
    #: Operate: AdminService.
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class CallerToken:
    """One token of a caller, as far as we keep it."""

    #: SHA-256 of the token, in hex: of 256 random bits, so no slow hash is needed.
    digest: str
    created_ms: int
    #: Unix milliseconds from which on it is refused; None: never.
    ends_ms: int | None = None

    def is_good(self, now_ms: int) -> bool:
        return self.ends_ms is None or now_ms < self.ends_ms


@dataclass(frozen=True, slots=True)
class Caller:
    """Proves itself by one of its tokens or by a certificate with one of its names, not by both."""

    name: str
    roles: frozenset[Role]
    created_ms: int
    tokens: tuple[CallerToken, ...] = ()
    #: DNS names or URIs among the subject alternative names of its certificate;
    #: compared as they are, there are no wildcards.
    certificate_names: tuple[str, ...] = ()


class CallerBook:
    """All callers, by what proves them. Immutable."""

    def __init__(self, callers: Iterable[Caller] = ()) -> None:
        """Raises: ValueError when two callers share a name, a token or a certificate name."""
        self.callers = tuple(sorted(callers, key=lambda caller: caller.name))
        self._by_digest: dict[str, tuple[Caller, CallerToken]] = {}
        self._by_certificate_name: dict[str, Caller] = {}
        seen: set[str] = set()
        for caller in self.callers:
            if caller.name in seen:
                raise ValueError(f"there are two callers {caller.name}")
            seen.add(caller.name)
            for token in caller.tokens:
                if token.digest in self._by_digest:
                    raise ValueError(f"{caller.name} has a token of another caller")
                self._by_digest[token.digest] = (caller, token)
            for name in caller.certificate_names:
                if name in self._by_certificate_name:
                    raise ValueError(
                        f"{caller.name} has a certificate name of another caller: {name}"
                    )
                self._by_certificate_name[name] = caller

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallerBook) and other.callers == self.callers

    def __hash__(self) -> int:
        return hash(self.callers)

    def named(self, name: str) -> Caller | None:
        return next((caller for caller in self.callers if caller.name == name), None)

    def of_token(self, token: str, now_ms: int) -> Caller | None:
        """Whose live token this is. A look-up by digest, so time tells nothing of others."""
        found = self._by_digest.get(digest_of(token))
        if found is None or not found[1].is_good(now_ms):
            return None
        return found[0]

    def of_certificate(self, names: Iterable[str]) -> Caller | None:
        """Whose certificate has these names; None where they are of two callers."""
        found = {self._by_certificate_name.get(name) for name in names} - {None}
        return found.pop() if len(found) == 1 else None

"""A caller: a service of the company's that calls wxauth, or one of its operators."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from wxauth_server.callers.tokens import digest_of

#: What a log calls whoever has the token of a server's data directory.
SERVER_ADMIN_NAME = "admin.token"

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_DNS_NAME = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*")
_URI = re.compile(r"(?:[A-Za-z][0-9A-Za-z+.-]*://|urn:)[!-~]+")
_MAX_CERTIFICATE_NAME = 255


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

    def ending(self, at_ms: int) -> CallerToken:
        """The same, refused from then on; one that ends sooner does so still."""
        ends_ms = at_ms if self.ends_ms is None else min(self.ends_ms, at_ms)
        return replace(self, ends_ms=ends_ms)


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

    def good_tokens(self, now_ms: int) -> tuple[CallerToken, ...]:
        return tuple(token for token in self.tokens if token.is_good(now_ms))

    def can_prove_itself(self, now_ms: int) -> bool:
        return bool(self.certificate_names or self.good_tokens(now_ms))

    def with_roles(self, roles: Iterable[Role]) -> Caller:
        return replace(self, roles=frozenset(roles))

    def with_new_token(self, token: str, *, now_ms: int, old_end_ms: int) -> Caller:
        """The same with another token; those that it has now end at `old_end_ms`."""
        old = (each.ending(old_end_ms) for each in self.tokens)
        return replace(self, tokens=(*old, CallerToken(digest_of(token), now_ms)))


class CallerBook:
    """All callers, by what proves them. Immutable."""

    def __init__(self, callers: Iterable[Caller] = ()) -> None:
        """Raises: ValueError when two callers share a name, a token or a certificate name.

        Its text says which, by names only.
        """
        self.callers = tuple(sorted(callers, key=lambda caller: caller.name))
        self._by_digest: dict[str, tuple[Caller, CallerToken]] = {}
        self._by_certificate_name: dict[str, Caller] = {}
        seen: set[str] = set()
        for caller in self.callers:
            if caller.name in seen:
                raise ValueError(f"there are two callers {caller.name}")
            seen.add(caller.name)
            for token in caller.tokens:
                if (other := self._by_digest.get(token.digest)) is not None:
                    raise ValueError(f"{other[0].name} and {caller.name} have the same token")
                self._by_digest[token.digest] = (caller, token)
            for name in caller.certificate_names:
                if (owner := self._by_certificate_name.get(name)) is not None:
                    raise ValueError(
                        f"{owner.name} and {caller.name} have the same certificate name, {name}"
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

    def with_caller(self, caller: Caller) -> Self:
        """The same with this caller, in place of the one of its name if there is one.

        Raises: ValueError, as the constructor.
        """
        return type(self)([*self.without(caller.name).callers, caller])

    def without(self, name: str) -> Self:
        return type(self)(caller for caller in self.callers if caller.name != name)

    def without_ended_tokens(self, now_ms: int) -> Self:
        return type(self)(
            replace(caller, tokens=caller.good_tokens(now_ms)) for caller in self.callers
        )


def check_name(name: str) -> str:
    """The same. Raises: ValueError, which says what a caller's name is, for any other text."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "a caller's name has 1 to 64 characters, a to z, 0 to 9 and between them ., _ and -"
        )
    if name == SERVER_ADMIN_NAME:
        raise ValueError(f"{name} is what the owner of a server's own token is called")
    return name


def check_certificate_name(name: str) -> str:
    """The same. Raises: ValueError for what is no DNS name and no URI.

    A wildcard is none, and neither is an IP address.
    """
    if "*" in name:
        raise ValueError("a certificate name is compared as it is: wildcards are not possible")
    if _is_address(name):
        raise ValueError(
            "a certificate name is no IP address: addresses in a certificate are not compared, so "
            "give a DNS name or a URI that it has"
        )
    if len(name) > _MAX_CERTIFICATE_NAME or not (_DNS_NAME.fullmatch(name) or _URI.fullmatch(name)):
        raise ValueError(
            "a certificate name is a DNS name or a URI with ://, as the certificate has it among "
            f"its subject alternative names, at most {_MAX_CERTIFICATE_NAME} characters"
        )
    return name


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True

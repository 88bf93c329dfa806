"""The request, the caller, and the server's own state: capacity, store, faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from wxauth_client.errors.base import WxauthError


class Violation(NamedTuple):
    """What is wrong with one field; `field` is its name in the .proto file."""

    field: str
    problem: str


class RequestInvalid(WxauthError):
    """The request cannot succeed however often it is sent; `violations` say why."""

    reason = "REQUEST_INVALID"
    status = "INVALID_ARGUMENT"
    violations: Sequence[Violation] = ()


class DeadlineTooShort(WxauthError):
    """The server had too little time left to begin; nothing was done."""

    reason = "DEADLINE_TOO_SHORT"
    status = "DEADLINE_EXCEEDED"


class Internal(WxauthError):
    """A fault of the server; its log explains `metadata["error_id"]`."""

    reason = "INTERNAL"
    status = "INTERNAL"


class Throttled(WxauthError):
    """Too many attempts; see `retry_after_s`."""

    reason = "THROTTLED"
    status = "RESOURCE_EXHAUSTED"


class Overloaded(WxauthError):
    """The server is at its capacity; see `retry_after_s`."""

    reason = "OVERLOADED"
    status = "RESOURCE_EXHAUSTED"


class StoreUnavailable(WxauthError):
    """The store failed; a write that was under way may or may not have happened."""

    reason = "STORE_UNAVAILABLE"
    status = "UNAVAILABLE"


class CallerUnauthenticated(WxauthError):
    """This service did not prove to the server who it is. Says nothing about the user."""

    reason = "CALLER_UNAUTHENTICATED"
    status = "UNAUTHENTICATED"


class CallerForbidden(WxauthError):
    """This service may not call this method. Says nothing about the user."""

    reason = "CALLER_FORBIDDEN"
    status = "PERMISSION_DENIED"

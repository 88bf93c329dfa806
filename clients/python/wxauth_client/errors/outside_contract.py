"""Failures without a reason of the contract, named by the client itself."""

from __future__ import annotations

from collections.abc import Mapping

from wxauth_client.errors.base import WxauthError


class ServerUnreachable(WxauthError):
    """No answer of a wxauth server: refused, lost or cancelled on the way, or not let in."""

    reason = "SERVER_UNREACHABLE"
    status = "UNAVAILABLE"


class DeadlineExceeded(WxauthError):
    """The client's own deadline passed. What was asked may or may not have been done."""

    reason = "DEADLINE_EXCEEDED"
    status = "DEADLINE_EXCEEDED"


class ProtocolError(WxauthError):
    """An answer that is not of this contract: a foreign server, or one far newer."""

    reason = "PROTOCOL_ERROR"
    status = "INTERNAL"


class UnknownReason(WxauthError):
    """A reason newer than this client. `reason` and `status` are the server's."""

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        status: str = "UNKNOWN",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, metadata=metadata, retry_after_s=retry_after_s)
        self.reason = reason
        self.status = status

"""Why a SessionId opens nothing."""

from __future__ import annotations

from wxauth_client.errors.base import WxauthError


class SessionDead(WxauthError):
    """Base of the three below: the SessionId opens nothing, the user logs in again."""

    status = "UNAUTHENTICATED"


class SessionInvalid(SessionDead):
    """Malformed, never issued, or of another mini-program."""

    reason = "SESSION_INVALID"


class SessionExpired(SessionDead):
    """Reached a limit of its lifetime."""

    reason = "SESSION_EXPIRED"

    @property
    def limit(self) -> str:
        """Which limit: "idle" or "absolute"."""
        return self.metadata.get("limit", "")


class SessionRevoked(SessionDead):
    """Ended before its time."""

    reason = "SESSION_REVOKED"

    @property
    def cause(self) -> str:
        """Why, such as "LOGOUT" or "UNBOUND"; error_reason.proto lists the causes."""
        return self.metadata.get("cause", "")

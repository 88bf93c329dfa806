"""WxauthError, the base of every way a call can fail."""

from __future__ import annotations

from collections.abc import Mapping


class WxauthError(Exception):
    """A call that failed. Decide on the class or on `reason`, never on `message`.

    - `reason`: the name in `ErrorReason` without its prefix, such as
      "SESSION_EXPIRED"; for failures that no server reported, the client's own.
    - `status`: the name of the gRPC status code, such as "UNAUTHENTICATED".
    - `message`: for people; a fixed text of the server's, or what gRPC says.
    - `metadata`: what the contract lists for the reason.
    - `retry_after_s`: seconds after which the same call may succeed; None where
      the server did not say that waiting helps.
    """

    reason: str = ""
    status: str = "UNKNOWN"

    def __init__(
        self,
        message: str = "",
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}" if self.message else self.reason

"""Whether a server lets this client in: what is asked, what an answer means, what the log says.

A session that nobody has is asked about. The server says who may call before it
looks at the request, and refuses this one before it looks at its store.
"""

from __future__ import annotations

import logging
import math
import time

from wxauth.v1.auth_service_pb2 import ValidateSessionRequest
from wxauth_client import file_watch
from wxauth_client.certificates import Certificates
from wxauth_client.errors import (
    CallerForbidden,
    CallerUnauthenticated,
    DeadlineExceeded,
    ProtocolError,
    ServerUnreachable,
    WxauthError,
)

log = logging.getLogger("wxauth.client")

#: Of the SessionId "".
NOBODYS_SESSION = ValidateSessionRequest()

CLOSED = "The client was closed."
NOT_SERVING = "The server says that it does not serve."


def obstacle_in(error: WxauthError) -> WxauthError | None:
    """What stands in the way of calls; None for a verdict on the request itself."""
    no_way_in = (
        CallerUnauthenticated,
        CallerForbidden,
        ServerUnreachable,
        DeadlineExceeded,
        ProtocolError,
    )
    return error if isinstance(error, no_way_in) else None


class Readiness:
    """Turns what stands in the way into yes or no; says why in the log when that changes."""

    def __init__(self) -> None:
        self._reason = ""

    def without(self, obstacle: WxauthError | None) -> bool:
        """Whether there is none."""
        reason = "" if obstacle is None else obstacle.reason
        if reason != self._reason:
            self._reason = reason
            if obstacle is None:
                log.info("ready")
            else:
                log.warning("not ready: %s", obstacle)
        return obstacle is None


class Takeover:
    """Decides whether a connection with new certificates takes over from the one in use."""

    def __init__(self) -> None:
        # What was tried last without success, whether that has been said, and when it was.
        self._refused: Certificates | None = None
        self._said = False
        self._failed_at = -math.inf

    def may_try(self) -> bool:
        """Whether the last attempt was over a second ago."""
        return time.monotonic() - self._failed_at >= file_watch.INTERVAL_S

    def after(self, certificates: Certificates | None, obstacle: WxauthError | None) -> bool:
        """Whether it takes over, now that it was tried.

        Why not is said at the second attempt in a row, once: the first one may
        have had too little time.
        """
        if obstacle is None:
            log.info("calls go to a connection with the new certificates")
            self._refused = None
            return True
        self._failed_at = time.monotonic()
        if certificates != self._refused:
            self._refused = certificates
            self._said = False
        elif not self._said:
            log.error("no calls with the new certificates, the old ones stay in use: %s", obstacle)
            self._said = True
        return False

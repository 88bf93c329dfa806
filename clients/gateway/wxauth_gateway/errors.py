"""Errors as the gateway writes them: the HTTP status of a gRPC status and one JSON envelope.

    {"error": {"code": 401, "status": "UNAUTHENTICATED", "reason": "SESSION_EXPIRED",
               "message": "...", "metadata": {"limit": "idle"}}}

REQUEST_INVALID adds `violations`, a list of {"field", "problem"}. Where there is a
header Retry-After, `retryAfter` says the same, such as "60s". Besides the reasons
of the contract there are SERVER_UNREACHABLE and DEADLINE_EXCEEDED.
"""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from starlette.responses import Response

from wxauth_client import (
    CallerForbidden,
    CallerUnauthenticated,
    DeadlineExceeded,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    WxauthError,
)

logger = logging.getLogger("wxauth.gateway")

# google/rpc/code.proto, "HTTP Mapping" of each code.
HTTP_STATUS: Mapping[str, int] = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "UNAUTHENTICATED": 401,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
}

# The fields of the contract as an HTTP client knows them.
_FIELD_NAMES = {
    "app_id": "appId",
    "encrypted_data": "encryptedData",
    "phone_code": "phoneCode",
    "raw_data": "rawData",
    "request_id": "requestId",
    "session_handle": "sessionHandle",
    "session_id": "Authorization",
    "client.device": "device",
    "client.user_agent": "User-Agent",
}

_NOT_VALID = "The request is not valid."

# For a 503 or 504 where the server says nothing else: about what it takes to start.
_RETRY_AFTER_S = "1"


@dataclass(frozen=True)
class HttpError:
    """An error ready to be written; `code` is the HTTP status."""

    code: int
    status: str
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, *, body_in_header: str = "") -> Response:
        """The answer; with the body in this header too, for proxies that read no body."""
        error: dict[str, object] = {
            "code": self.code,
            "status": self.status,
            "reason": self.reason,
            "message": self.message,
            "metadata": dict(self.metadata),
        }
        if self.reason == RequestInvalid.reason:
            error["violations"] = [
                {"field": name, "problem": problem} for name, problem in self.violations
            ]
        headers = dict(self.headers)
        if self.code in (503, 504):
            headers.setdefault("Retry-After", _RETRY_AFTER_S)
        if "Retry-After" in headers:
            error["retryAfter"] = f"{headers['Retry-After']}s"
        if self.code == 401:
            headers["WWW-Authenticate"] = "Bearer"  # RFC 9110: a 401 has one
        if body_in_header:
            headers[body_in_header] = json.dumps({"error": error})  # in ASCII, on one line
        return Response(
            json.dumps({"error": error}, ensure_ascii=False),
            self.code,
            headers,
            media_type="application/json",
        )


def of_client(error: WxauthError) -> HttpError:
    """What a failed call to the server means to the HTTP client."""
    if isinstance(error, CallerUnauthenticated | CallerForbidden):
        # The gateway itself is not let in. A 401 would send every user to log
        # in again, for nothing.
        logger.error("the server does not admit this gateway: %s", error)
        return HttpError(
            503, "UNAVAILABLE", error.reason, "The gateway is not admitted by the server."
        )
    if isinstance(error, ServerUnreachable):
        logger.warning("no answer from the server: %s", error)
        return HttpError(
            503, "UNAVAILABLE", error.reason, "The login service cannot be reached. Try again."
        )
    if isinstance(error, DeadlineExceeded):
        return HttpError(
            504, "DEADLINE_EXCEEDED", error.reason, "The login service did not answer in time."
        )
    if isinstance(error, ProtocolError):
        return of_fault(error)
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(0, math.ceil(error.retry_after_s)))
    metadata = dict(error.metadata)
    if "field" in metadata:
        metadata["field"] = _FIELD_NAMES.get(metadata["field"], metadata["field"])
    message = error.message
    violations: Iterable[tuple[str, str]] = ()
    if isinstance(error, RequestInvalid) and error.violations:
        message = _NOT_VALID  # the server's own names the fields, in the names of gRPC
        violations = ((_FIELD_NAMES.get(name, name), problem) for name, problem in error.violations)
    return HttpError(
        HTTP_STATUS.get(error.status, 500),
        error.status,
        error.reason,
        message,
        metadata,
        tuple(violations),
        headers,
    )


def of_fault(error: BaseException) -> HttpError:
    """An unexpected exception: its text goes to the log only, found there by the error id."""
    error_id = secrets.token_hex(6)
    logger.error("internal error %s", error_id, exc_info=error)
    return HttpError(
        500,
        "INTERNAL",
        "INTERNAL",
        "Internal error. The operator finds the cause in the log by its error_id.",
        {"error_id": error_id},
    )


def stopping() -> HttpError:
    """The gateway ends before the answer is there. Another one may know it, or this one later."""
    return HttpError(
        503, "UNAVAILABLE", ServerUnreachable.reason, "The gateway is stopping. Try again."
    )


def bad_request(*violations: tuple[str, str]) -> HttpError:
    return _invalid(400, "INVALID_ARGUMENT", _NOT_VALID, violations)


def not_found() -> HttpError:
    return _invalid(404, "NOT_FOUND", "There is nothing at this path.")


# The connection ends with each of these: the rest of the request is not read.
_CLOSE = {"Connection": "close"}


def method_not_allowed(allowed: Iterable[str]) -> HttpError:
    allow = ", ".join(sorted(allowed))
    return _invalid(
        405,
        "UNIMPLEMENTED",
        f"This path takes {allow} only.",
        headers={"Allow": allow} | _CLOSE,
    )


def too_slow() -> HttpError:
    return _invalid(408, "INVALID_ARGUMENT", "The request came too slowly.", headers=_CLOSE)


def body_too_large(limit_bytes: int) -> HttpError:
    message = f"The body is longer than {limit_bytes} bytes."
    return _invalid(413, "INVALID_ARGUMENT", message, headers=_CLOSE)


def framing_too_large(limit_bytes: int) -> HttpError:
    message = f"The body's chunk sizes and trailers are longer than {limit_bytes} bytes."
    return _invalid(413, "INVALID_ARGUMENT", message, headers=_CLOSE)


def not_json() -> HttpError:
    message = "The content-type must be application/json, in UTF-8 and not compressed."
    return _invalid(415, "INVALID_ARGUMENT", message, headers=_CLOSE)


def body_not_expected() -> HttpError:
    message = "A request of this method has no body."
    return _invalid(400, "INVALID_ARGUMENT", message, headers=_CLOSE)


def head_too_large(limit_bytes: int) -> HttpError:
    message = f"The request's head is longer than {limit_bytes} bytes."
    return _invalid(431, "INVALID_ARGUMENT", message, headers=_CLOSE)


def _invalid(
    code: int,
    status: str,
    message: str,
    violations: tuple[tuple[str, str], ...] = (),
    headers: Mapping[str, str] | None = None,
) -> HttpError:
    return HttpError(code, status, RequestInvalid.reason, message, {}, violations, headers or {})

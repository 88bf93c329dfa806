"""The one place that turns a refusal into a gRPC status."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_server.errors import AuthError, RequestInvalid

#: `google.rpc.ErrorInfo.domain` of every error of ours.
DOMAIN = "wxauth"

#: Trailer that carries the details (gRPC's richer error model).
_DETAILS_KEY = "grpc-status-details-bin"

#: design.md section 3.
STATUS_OF_REASON: Mapping[ErrorReason.ValueType, StatusCode] = {
    ErrorReason.ERROR_REASON_CODE_INVALID: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_CODE_USED: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_CREDENTIALS_INVALID: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_SESSION_INVALID: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_SESSION_EXPIRED: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_SESSION_REVOKED: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_BINDING_REQUIRED: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_OPENID_ALREADY_BOUND: StatusCode.ALREADY_EXISTS,
    ErrorReason.ERROR_REASON_ACCOUNT_ALREADY_BOUND: StatusCode.ALREADY_EXISTS,
    ErrorReason.ERROR_REASON_ACCOUNT_DISABLED: StatusCode.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_PROOF_INVALID: StatusCode.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_WECHAT_USER_BLOCKED: StatusCode.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_WECHAT_RATE_LIMITED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_THROTTLED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_OVERLOADED: StatusCode.RESOURCE_EXHAUSTED,
    ErrorReason.ERROR_REASON_WECHAT_UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_STORE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_WECHAT_MISCONFIGURED: StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_CALLER_UNAUTHENTICATED: StatusCode.UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_CALLER_FORBIDDEN: StatusCode.PERMISSION_DENIED,
    ErrorReason.ERROR_REASON_REQUEST_INVALID: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_DEADLINE_TOO_SHORT: StatusCode.DEADLINE_EXCEEDED,
    ErrorReason.ERROR_REASON_INTERNAL: StatusCode.INTERNAL,
    ErrorReason.ERROR_REASON_SESSION_KEY_INVALID: StatusCode.FAILED_PRECONDITION,
    ErrorReason.ERROR_REASON_USER_DATA_INVALID: StatusCode.INVALID_ARGUMENT,
    ErrorReason.ERROR_REASON_ACCOUNT_SOURCE_UNAVAILABLE: StatusCode.UNAVAILABLE,
    ErrorReason.ERROR_REASON_NOT_FOUND: StatusCode.NOT_FOUND,
    ErrorReason.ERROR_REASON_ACCOUNT_EXISTS: StatusCode.ALREADY_EXISTS,
}


def status_of(error: AuthError) -> tuple[StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Status code, message and trailers of a refusal."""
    code = STATUS_OF_REASON[error.reason]
    message = str(error)
    number: int = code.value[0]
    status = Status(code=number, message=message)
    status.details.add().Pack(
        ErrorInfo(reason=error.reason_name(), domain=DOMAIN, metadata=error.metadata)
    )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    if isinstance(error, RequestInvalid):
        status.details.add().Pack(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=field, description=problem)
                    for field, problem in error.violations
                ]
            )
        )
    return code, message, ((_DETAILS_KEY, status.SerializeToString()),)


async def abort(context: grpc.aio.ServicerContext[object, object], error: AuthError) -> None:
    """End the call with the status of `error`. The only caller of context.abort."""
    code, message, trailers = status_of(error)
    await context.abort(code, message, trailers)

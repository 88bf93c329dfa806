"""From the wire to our values and errors. Only here, and in reading_validations.py.

An answer that cannot be one of wxauth's is a ProtocolError: an empty message
of some foreign server must not pass for a live session.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import NoReturn, cast

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from wxauth.v1 import auth_service_pb2 as pb
from wxauth.v1 import wechat_service_pb2 as wechat_pb
from wxauth_client.certificates import Certificates
from wxauth_client.errors import (
    OF_THE_CONTRACT,
    DeadlineExceeded,
    ProtocolError,
    RequestInvalid,
    ServerUnreachable,
    UnknownReason,
    Violation,
    WxauthError,
)
from wxauth_client.unreachable import meaning_of
from wxauth_client.values import (
    Account,
    DeletedAccount,
    Login,
    OwnSession,
    PhoneNumber,
    Session,
    Unbound,
    UserData,
)

DOMAIN = "wxauth"  # of our ErrorInfo

# gRPC's own texts name addresses and system errors; more than this is noise.
_MAX_DETAIL_CHARS = 300

_NOT_OURS: dict[grpc.StatusCode, type[WxauthError]] = {
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: ServerUnreachable,
    grpc.StatusCode.CANCELLED: ServerUnreachable,
    # gRPC's own limits, such as that of concurrent calls, come before wxauth.
    grpc.StatusCode.RESOURCE_EXHAUSTED: ServerUnreachable,
}


# --- Answers ----------------------------------------------------------------


def read_login(answer: pb.LoginResponse) -> Login:
    if not answer.session_id:
        raise ProtocolError("The answer to a login holds no SessionId.")
    return Login(
        session_id=answer.session_id,
        account=_account(answer.account),
        bound_now=answer.bound_now,
        idle_expire_time=_time(answer.idle_expire_time),
        absolute_expire_time=_time(answer.absolute_expire_time),
    )


def read_session(answer: pb.ValidateSessionResponse) -> Session:
    return Session(
        account=_account(answer.account),
        app_id=answer.app_id,
        openid=answer.openid,
        unionid=answer.unionid,
        handle=answer.session_handle,
        login_time=_time(answer.login_time),
        idle_expire_time=_time(answer.idle_expire_time),
        absolute_expire_time=_time(answer.absolute_expire_time),
        reuse_for=_span(answer.reuse_for),
    )


def read_unbound(answer: pb.UnbindResponse) -> Unbound:
    return Unbound(
        already=False,
        account=_account(answer.account),
        app_id=answer.app_id,
        openid=answer.openid,
        sessions_ended=answer.sessions_ended,
    )


def read_own_sessions(answer: pb.ListSessionsResponse) -> list[OwnSession]:
    return [_own_session(session) for session in answer.sessions]


def read_deleted_account(answer: pb.DeleteAccountResponse) -> DeletedAccount:
    return DeletedAccount(
        already=False,
        account=_account(answer.account),
        bindings_ended=answer.bindings_ended,
        sessions_ended=answer.sessions_ended,
    )


def read_user_data(answer: wechat_pb.DecryptUserDataResponse) -> UserData:
    try:
        data = json.loads(answer.data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # Not chained: the cause holds the data.
        raise ProtocolError("The decrypted data is not JSON.") from None
    if not isinstance(data, dict):
        raise ProtocolError("The decrypted data is not a JSON object.")
    return UserData(data=data, watermark_time=_time(answer.watermark_time))


def read_phone_number(answer: wechat_pb.GetPhoneNumberResponse) -> PhoneNumber:
    if not answer.phone_number:
        raise ProtocolError("The answer holds no phone number.")
    return PhoneNumber(
        phone_number=answer.phone_number,
        country_code=answer.country_code,
        national_number=answer.national_number,
    )


def read_nothing(_answer: Message) -> None:
    """For an answer that says by coming at all that it is done."""


def _no_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _account(account: pb.Account) -> Account:
    if not account.id:
        raise ProtocolError("The answer names no account.")
    return Account(
        source=account.source,
        id=account.id,
        username=account.username,
        display_name=account.display_name,
    )


def _own_session(session: pb.OwnSession) -> OwnSession:
    if not session.session_handle:
        raise ProtocolError("The answer holds a session without a name.")
    return OwnSession(
        handle=session.session_handle,
        current=session.current,
        device=session.device,
        user_agent=session.user_agent,
        network=session.network,
        login_time=_time(session.login_time),
        last_seen_time=_time(session.last_seen_time),
        idle_expire_time=_time(session.idle_expire_time),
        absolute_expire_time=_time(session.absolute_expire_time),
    )


def _time(stamp: Timestamp) -> datetime:
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise ProtocolError("The answer holds a time that is none.") from None


def _span(span: Duration) -> timedelta:
    try:
        return span.ToTimedelta()
    except (ValueError, OverflowError):
        raise ProtocolError("The answer holds a time span that is none.") from None


# --- Errors -----------------------------------------------------------------


def error_of(error: grpc.RpcError, certificates: Certificates | None = None) -> WxauthError:
    """The exception of ours for a failed call, sync or aio, of a channel with these certificates.

    What gRPC raises is both an RpcError and a Call; only the latter has typed
    accessors. The aio one has the same three, without await.
    """
    call = cast("grpc.Call", error)
    code = call.code()
    return _told(call, code.name) or _untold(code, call.details() or "", certificates)


def _told(call: grpc.Call, status: str) -> WxauthError | None:
    """What wxauth told about the failure, if it was wxauth that answered."""
    try:
        rich: status_pb2.Status | None = rpc_status.from_call(call)
    except (ValueError, DecodeError):  # another service's details, or garbled ones
        return None
    if rich is None:
        return None
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad_request = error_details_pb2.BadRequest()
    retry_after_s = None
    for detail in rich.details:
        try:
            if detail.Unpack(retry):
                retry_after_s = retry.retry_delay.ToTimedelta().total_seconds()
            elif not detail.Unpack(info):
                detail.Unpack(bad_request)
        except (ValueError, OverflowError, DecodeError):
            return None
    if info.domain != DOMAIN or not info.reason:
        return None
    metadata = dict(info.metadata)
    told = OF_THE_CONTRACT.get(info.reason)
    if told is None:
        return UnknownReason(
            rich.message,
            reason=info.reason,
            status=status,
            metadata=metadata,
            retry_after_s=retry_after_s,
        )
    error = told(rich.message, metadata=metadata, retry_after_s=retry_after_s)
    error.status = status
    if isinstance(error, RequestInvalid):
        error.violations = tuple(
            Violation(violation.field, violation.description)
            for violation in bad_request.field_violations
        )
    return error


def _untold(code: grpc.StatusCode, details: str, certificates: Certificates | None) -> WxauthError:
    kind = _NOT_OURS.get(code, ProtocolError)
    if kind is ServerUnreachable:
        meaning = meaning_of(details, certificates)
        grpc_says = f"{code.name}: {details[:_MAX_DETAIL_CHARS]}"
        return kind(f"{meaning} ({grpc_says})" if meaning else grpc_says)
    # What a foreign server writes may quote our request: keep the code only.
    return kind(f"{code.name} without a reason of wxauth.")

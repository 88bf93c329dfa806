"""Refusals as gRPC statuses, value by value as design.md section 3 has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_server import errors
from wxauth_server.errors import AuthError
from wxauth_server.rpc.status import STATUS_OF_REASON, status_of

#: reason -> (status, whether waiting helps).
CONTRACT = {
    "CODE_INVALID": (StatusCode.UNAUTHENTICATED, False),
    "CODE_USED": (StatusCode.UNAUTHENTICATED, False),
    "CREDENTIALS_INVALID": (StatusCode.UNAUTHENTICATED, False),
    "SESSION_INVALID": (StatusCode.UNAUTHENTICATED, False),
    "SESSION_EXPIRED": (StatusCode.UNAUTHENTICATED, False),
    "SESSION_REVOKED": (StatusCode.UNAUTHENTICATED, False),
    "BINDING_REQUIRED": (StatusCode.FAILED_PRECONDITION, False),
    "OPENID_ALREADY_BOUND": (StatusCode.ALREADY_EXISTS, False),
    "ACCOUNT_ALREADY_BOUND": (StatusCode.ALREADY_EXISTS, False),
    "ACCOUNT_DISABLED": (StatusCode.PERMISSION_DENIED, False),
    "PROOF_INVALID": (StatusCode.PERMISSION_DENIED, False),
    "WECHAT_USER_BLOCKED": (StatusCode.PERMISSION_DENIED, False),
    "WECHAT_RATE_LIMITED": (StatusCode.RESOURCE_EXHAUSTED, True),
    "THROTTLED": (StatusCode.RESOURCE_EXHAUSTED, True),
    "OVERLOADED": (StatusCode.RESOURCE_EXHAUSTED, True),
    "WECHAT_UNAVAILABLE": (StatusCode.UNAVAILABLE, True),
    "STORE_UNAVAILABLE": (StatusCode.UNAVAILABLE, True),
    "WECHAT_MISCONFIGURED": (StatusCode.INTERNAL, False),
    "CALLER_UNAUTHENTICATED": (StatusCode.UNAUTHENTICATED, False),
    "CALLER_FORBIDDEN": (StatusCode.PERMISSION_DENIED, False),
    "REQUEST_INVALID": (StatusCode.INVALID_ARGUMENT, False),
    "DEADLINE_TOO_SHORT": (StatusCode.DEADLINE_EXCEEDED, False),
    "INTERNAL": (StatusCode.INTERNAL, False),
    "SESSION_KEY_INVALID": (StatusCode.FAILED_PRECONDITION, False),
    "USER_DATA_INVALID": (StatusCode.INVALID_ARGUMENT, False),
    "ACCOUNT_SOURCE_UNAVAILABLE": (StatusCode.UNAVAILABLE, True),
    "NOT_FOUND": (StatusCode.NOT_FOUND, False),
    "ACCOUNT_EXISTS": (StatusCode.ALREADY_EXISTS, False),
}

#: What the errors need that do not stand alone.
ARGUMENTS = {
    "REQUEST_INVALID": ("code", "required"),
    "SESSION_EXPIRED": "idle",
    "SESSION_REVOKED": "LOGOUT",
    "INTERNAL": "abc123",
    "THROTTLED": 12.5,
    "NOT_FOUND": "account",
    "ACCOUNT_EXISTS": "username",
    "CALLER_FORBIDDEN": "orders",
}


def families(base: type[AuthError] = AuthError) -> Iterator[type[AuthError]]:
    """Every error class of the server."""
    for family in base.__subclasses__():
        if family.__module__ == errors.__name__:
            yield family
            yield from families(family)


FAMILIES = {family.reason_name(): family for family in families()}


def make(reason: str) -> AuthError:
    argument = ARGUMENTS.get(reason)
    family = FAMILIES[reason]
    return family() if argument is None else family(argument)


def details_of(error: AuthError) -> tuple[Status, ErrorInfo, list[Message]]:
    """The status in the trailer, its ErrorInfo and the other details."""
    code, message, trailers = status_of(error)
    [(key, value)] = trailers
    assert key == "grpc-status-details-bin"
    status = Status.FromString(value)
    assert (status.code, status.message) == (code.value[0], message)
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    others: list[Message] = []
    for detail in status.details[1:]:
        for kind in (RetryInfo, BadRequest):
            other = kind()
            if detail.Unpack(other):
                others.append(other)
    assert len(others) == len(status.details) - 1
    return status, info, others


@pytest.mark.parametrize("reason", CONTRACT)
def test_every_reason_has_its_status(reason: str) -> None:
    assert STATUS_OF_REASON[ErrorReason.Value(f"ERROR_REASON_{reason}")] is CONTRACT[reason][0]


def test_no_reason_is_forgotten() -> None:
    """Nor is there a status for the value that says nothing, or the status UNKNOWN at all."""
    named = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118
    assert named - {"UNSPECIFIED"} == set(CONTRACT)
    assert ErrorReason.ERROR_REASON_UNSPECIFIED not in STATUS_OF_REASON
    assert len(STATUS_OF_REASON) == len(CONTRACT)
    assert StatusCode.UNKNOWN not in STATUS_OF_REASON.values()


def test_every_reason_has_one_error_class() -> None:
    assert sorted(family.reason_name() for family in families()) == sorted(CONTRACT)


@pytest.mark.parametrize("reason", sorted(CONTRACT))
def test_the_status_of_every_error(reason: str) -> None:
    error = make(reason)
    code, message, _ = status_of(error)
    status, info, others = details_of(error)
    expected, waiting_helps = CONTRACT[reason]
    assert code is expected
    assert message == status.message == str(error) != ""
    assert (info.domain, info.reason) == ("wxauth", reason)
    assert dict(info.metadata) == dict(error.metadata)
    assert [type(other) for other in others if isinstance(other, RetryInfo)] == (
        [RetryInfo] if waiting_helps else []
    )


@pytest.mark.parametrize(
    ("error", "metadata"),
    [
        (errors.SessionExpired("absolute"), {"limit": "absolute"}),
        (errors.SessionRevoked("UNBOUND"), {"cause": "UNBOUND"}),
        (errors.Internal("abc123"), {"error_id": "abc123"}),
        (errors.CredentialsInvalid(("local", "10001")), {}),
        (errors.CodeUsed(), {}),
    ],
    ids=["expired", "revoked", "internal", "credentials", "code"],
)
def test_metadata(error: AuthError, metadata: dict[str, str]) -> None:
    _, info, _ = details_of(error)
    assert dict(info.metadata) == metadata


@pytest.mark.parametrize(
    ("error", "milliseconds"),
    [
        (errors.Overloaded(), 1_000),
        (errors.StoreUnavailable(), 1_000),
        (errors.WeChatRateLimited(), 60_000),
        (errors.WeChatUnavailable(), 1_000),
        (errors.WeChatUnavailable(4.3217), 4_322),
        (errors.WeChatUnavailable(0.0), 0),
    ],
    ids=["overloaded", "store", "rate", "wechat", "breaker", "now"],
)
def test_how_long_to_wait(error: AuthError, milliseconds: int) -> None:
    _, _, [retry] = details_of(error)
    assert isinstance(retry, RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == milliseconds


def test_every_bad_field_is_named() -> None:
    error = errors.RequestInvalid(("code", "required"), ("client.address", "longer than 45 bytes"))
    _, _, [bad] = details_of(error)
    assert isinstance(bad, BadRequest)
    assert [(v.field, v.description) for v in bad.field_violations] == [
        ("code", "required"),
        ("client.address", "longer than 45 bytes"),
    ]
    assert str(error) == "code: required; client.address: longer than 45 bytes"


def test_credentials_are_refused_in_the_same_bytes() -> None:
    """Whether there is such an account or not: what is for the audit log stays here."""
    assert status_of(errors.CredentialsInvalid()) == (
        status_of(errors.CredentialsInvalid(("local", "10001")))
    )


def test_metadata_of_one_error_is_not_that_of_the_next() -> None:
    errors.SessionRevoked("UNBOUND")
    assert dict(AuthError.metadata) == {}
    assert dict(errors.SessionInvalid().metadata) == {}

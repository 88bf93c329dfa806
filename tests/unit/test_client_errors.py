"""Every error the wire can carry becomes the one class meant for it."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
from google.rpc import code_pb2, status_pb2

import wxauth_client
from tests.scripted_server import Answer, ScriptedServer, fail, refuse, scripted_server
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client import errors
from wxauth_client.aio import AsyncAuthClient
from wxauth_client.client import AuthClient

REASONS = [
    name.removeprefix("ERROR_REASON_")
    for name, number in ErrorReason.items()
    if number  # 0 is never sent
]

Failure = Callable[[Answer], errors.WxauthError]


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture(params=["sync", "aio"])
def failure(
    request: pytest.FixtureRequest, running: ScriptedServer, server_loop: asyncio.AbstractEventLoop
) -> Failure:
    """Makes a logout that is answered so, and gives what it raised, by either twin.

    A login would be sent again after some of them, see test_client_retrying.py.
    """
    running.reset()

    async def logout_aio() -> None:
        async with AsyncAuthClient(running.address) as client:
            await client.logout("id")

    def logout() -> None:
        if request.param == "aio":
            asyncio.run_coroutine_threadsafe(logout_aio(), server_loop).result(20)
        else:
            with AuthClient(running.address) as client:
                client.logout("id")

    def raised(answer: Answer) -> errors.WxauthError:
        running.answers["Logout"] = answer
        with pytest.raises(errors.WxauthError) as caught:
            logout()
        return caught.value

    return raised


def test_each_reason_has_exactly_one_class() -> None:
    classes = [
        value
        for value in vars(wxauth_client).values()
        if isinstance(value, type) and issubclass(value, errors.WxauthError)
    ]
    for reason in REASONS:
        matching = [kind for kind in classes if kind.reason == reason]
        assert matching == [errors.OF_THE_CONTRACT[reason]]
    assert sorted(errors.OF_THE_CONTRACT) == sorted(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_becomes_its_class(failure: Failure, reason: str) -> None:
    kind = errors.OF_THE_CONTRACT[reason]
    error = failure(
        refuse(reason, kind.status, metadata={"error_id": "9f1c2ab34d5e"}, retry_after_s=1.5)
    )
    assert type(error) is kind
    assert (error.reason, error.status, error.message) == (reason, kind.status, "A fixed text.")
    assert error.metadata == {"error_id": "9f1c2ab34d5e"}
    assert error.retry_after_s == 1.5
    assert str(error) == f"{reason}: A fixed text."


def test_what_the_reasons_carry(failure: Failure) -> None:
    expired = failure(refuse("SESSION_EXPIRED", "UNAUTHENTICATED", metadata={"limit": "idle"}))
    assert isinstance(expired, errors.SessionDead)
    assert isinstance(expired, errors.SessionExpired)
    assert expired.limit == "idle"
    revoked = failure(refuse("SESSION_REVOKED", "UNAUTHENTICATED", metadata={"cause": "ADMIN"}))
    assert isinstance(revoked, errors.SessionRevoked)
    assert revoked.cause == "ADMIN"
    for reason in ("CODE_INVALID", "CODE_USED"):
        of_the_phone = failure(refuse(reason, "UNAUTHENTICATED", metadata={"field": "phone_code"}))
        assert isinstance(of_the_phone, errors.CodeInvalid | errors.CodeUsed)
        assert of_the_phone.field == "phone_code"
        of_the_login = failure(refuse(reason, "UNAUTHENTICATED"))
        assert isinstance(of_the_login, errors.CodeInvalid | errors.CodeUsed)
        assert of_the_login.field == ""
    for watermark in ("", "APP", "STALE"):
        metadata = {"watermark": watermark} if watermark else {}
        forged = failure(refuse("USER_DATA_INVALID", "INVALID_ARGUMENT", metadata=metadata))
        assert isinstance(forged, errors.UserDataInvalid)
        assert forged.watermark == watermark
    absent = failure(refuse("NOT_FOUND", "NOT_FOUND", metadata={"what": "account"}))
    assert isinstance(absent, errors.NotFound)
    assert absent.what == "account"
    exists = failure(refuse("ACCOUNT_EXISTS", "ALREADY_EXISTS", metadata={"field": "id"}))
    assert isinstance(exists, errors.AccountExists)
    assert exists.field == "id"
    invalid = failure(
        refuse("REQUEST_INVALID", "INVALID_ARGUMENT", violations=[("code", "missing")])
    )
    assert isinstance(invalid, errors.RequestInvalid)
    assert invalid.violations == (errors.Violation("code", "missing"),)
    assert invalid.retry_after_s is None


def test_a_reason_newer_than_the_client_keeps_its_name(failure: Failure) -> None:
    error = failure(refuse("MOON_PHASE", "ABORTED", metadata={"moon": "full"}, retry_after_s=3))
    assert type(error) is errors.UnknownReason
    assert (error.reason, error.status) == ("MOON_PHASE", "ABORTED")
    assert (error.metadata, error.retry_after_s) == ({"moon": "full"}, 3.0)


DETAILS = "grpc-status-details-bin"
GARBLED = status_pb2.Status(code=code_pb2.INTERNAL, message="plain")
GARBLED.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")


NOT_OF_WXAUTH: dict[str, tuple[Answer, type[errors.WxauthError]]] = {
    "unavailable": (fail("UNAVAILABLE"), errors.ServerUnreachable),
    "cancelled": (fail("CANCELLED"), errors.ServerUnreachable),
    "grpc's own limit": (fail("RESOURCE_EXHAUSTED"), errors.ServerUnreachable),
    "deadline": (fail("DEADLINE_EXCEEDED"), errors.DeadlineExceeded),
    "unknown": (fail("UNKNOWN"), errors.ProtocolError),
    "unauthenticated": (fail("UNAUTHENTICATED"), errors.ProtocolError),
    "unimplemented": (fail("UNIMPLEMENTED"), errors.ProtocolError),
    "garbled details": (
        fail("UNAVAILABLE", trailers=[(DETAILS, b"\xff\xff\xff")]),
        errors.ServerUnreachable,
    ),
    "details of another status": (
        fail("UNAVAILABLE", trailers=[(DETAILS, b"\x08\x03")]),
        errors.ServerUnreachable,
    ),
    "empty details": (fail("INTERNAL", trailers=[(DETAILS, b"")]), errors.ProtocolError),
    "an ErrorInfo in name only": (
        fail("INTERNAL", trailers=[(DETAILS, GARBLED.SerializeToString())]),
        errors.ProtocolError,
    ),
    "another domain": (
        refuse("SESSION_INVALID", "UNAUTHENTICATED", domain="other"),
        errors.ProtocolError,
    ),
    "no reason": (refuse("", "UNAVAILABLE"), errors.ServerUnreachable),
}


@pytest.mark.parametrize(("answer", "kind"), NOT_OF_WXAUTH.values(), ids=NOT_OF_WXAUTH)
def test_an_error_that_is_not_of_wxauth(
    failure: Failure, answer: Answer, kind: type[errors.WxauthError]
) -> None:
    error = failure(answer)
    assert type(error) is kind
    assert error.status == kind.status


def test_the_text_of_a_foreign_server_is_dropped(failure: Failure) -> None:
    assert "CANARY" not in str(failure(fail("UNKNOWN", "Exception calling application: CANARY")))


def test_errors_can_be_copied_and_pickled() -> None:
    error = errors.SessionRevoked("gone", metadata={"cause": "ADMIN"}, retry_after_s=2.0)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is errors.SessionRevoked
        assert (twin.cause, twin.message, twin.retry_after_s) == ("ADMIN", "gone", 2.0)

"""From the wire to what was found for each SessionId of a batch."""

from __future__ import annotations

from wxauth.v1 import auth_service_pb2 as pb
from wxauth.v1.error_reason_pb2 import ErrorReason
from wxauth_client.errors import OF_THE_CONTRACT, ProtocolError, UnknownReason, WxauthError
from wxauth_client.reading import read_session
from wxauth_client.values import Session


def read_validations(
    answer: pb.BatchValidateSessionsResponse, asked: int
) -> list[Session | WxauthError]:
    """Raises ProtocolError unless there is one result for each of the `asked`."""
    if len(answer.results) != asked:
        # By its place alone is a result known to be somebody's.
        raise ProtocolError("The answer has not as many results as were asked for.")
    return [_validation(result) for result in answer.results]


def _validation(result: pb.SessionValidation) -> Session | WxauthError:
    found = result.WhichOneof("result")
    if found == "session":
        return read_session(result.session)
    if found == "refusal" and result.refusal.reason:
        return _refusal(result.refusal)
    raise ProtocolError("The answer holds neither a session nor why there is none.")


def _refusal(refusal: pb.SessionRefusal) -> WxauthError:
    metadata = dict(refusal.metadata)
    try:
        reason = ErrorReason.Name(refusal.reason).removeprefix("ERROR_REASON_")
    except ValueError:  # newer than this client, which knows its number only
        return UnknownReason(reason=f"REASON_{refusal.reason}", metadata=metadata)
    return OF_THE_CONTRACT[reason](metadata=metadata)

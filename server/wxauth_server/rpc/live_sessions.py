"""The answers about live sessions, as messages. Every validation comes here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.auth_service_pb2 import (
    BatchValidateSessionsResponse,
    SessionRefusal,
    SessionValidation,
    ValidateSessionResponse,
)
from wxauth_server.auth.validate_session import LiveSession
from wxauth_server.auth.validate_sessions import SessionDead

# The first byte of field 1 with a length: `results` of the answer, and `session` of each.
_FIELD_1 = b"\x0a"


def serialize_live_session(live: LiveSession) -> bytes:
    """A ValidateSessionResponse on the wire."""
    # Filled in place: three quarters of the time of building the messages apart.
    message = ValidateSessionResponse()
    session = live.record
    message.app_id = session.app_id
    message.openid = session.openid
    message.unionid = session.unionid or ""
    message.session_handle = session.handle
    account = message.account
    account.source = session.account_source
    account.id = session.account_id
    account.username = session.username or ""
    account.display_name = session.display_name or ""
    _set_ms(message.login_time, session.login_at)
    _set_ms(message.idle_expire_time, live.idle_end_ms)
    _set_ms(message.absolute_expire_time, live.absolute_end_ms)
    _set_ms(message.reuse_for, live.reuse_for_ms)
    return message.SerializeToString()


def serialize_batch(answers: Sequence[bytes | SessionDead]) -> bytes:
    """A BatchValidateSessionsResponse on the wire, of serialized sessions and refusals."""
    parts: list[bytes] = []
    for answer in answers:
        if isinstance(answer, bytes):
            # A serialized message is what is in it, one after the other.
            parts += (_header(len(answer)), answer)
        else:
            refusal = SessionRefusal(reason=answer.reason, metadata=answer.metadata)
            entry = SessionValidation(refusal=refusal)
            parts.append(BatchValidateSessionsResponse(results=[entry]).SerializeToString())
    return b"".join(parts)


@cache
def _header(length: int) -> bytes:
    """What stands before a session of this length: an entry with a session in it."""
    session = _FIELD_1 + _varint(length)
    return _FIELD_1 + _varint(len(session) + length) + session


def _varint(number: int) -> bytes:
    digits = []
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def _set_ms(field: Timestamp | Duration, milliseconds: int) -> None:
    field.seconds = milliseconds // 1000
    field.nanos = milliseconds % 1000 * 1_000_000

"""Step 5: the SessionId, and the row that knows whose it is."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from wxauth_server.auth.attempt import LoginAttempt
from wxauth_server.session_id import (
    encode_session_id,
    new_session_handle,
    new_session_id,
    session_digest,
)
from wxauth_server.store.accounts import AccountRecord
from wxauth_server.store.audit import Event
from wxauth_server.store.ended_sessions import end_surplus_sessions
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import SessionRecord, insert_session


class Overtaken(Exception):
    """Another attempt of the same request was first: look at what came of it."""


@dataclass(frozen=True)
class NewSession:
    """A SessionId that is about to be stored as its digest."""

    session_id: str = field(repr=False)
    digest: bytes
    handle: str

    @classmethod
    def of(cls, *, salt: bytes, app_id: str, code: str, request_id: str) -> NewSession:
        """The session of a login.

        With a request_id every attempt of the same request makes the same
        SessionId, and nobody can who lacks the code, the request_id or the salt
        (design.md section 4, step 2). Without one it is random.
        """
        if request_id:
            request = "\0".join((app_id, code, request_id)).encode()
            session_id = encode_session_id(hmac.digest(salt, request, hashlib.sha256))
        else:
            session_id = new_session_id()
        digest = session_digest(session_id)
        assert digest is not None  # noqa: S101 - what we encode is well-formed
        return cls(session_id, digest, new_session_handle())


def start_session(
    tx: Transaction,
    new: NewSession,
    attempt: LoginAttempt,
    account: AccountRecord,
    *,
    unionid: str | None,
    now_ms: int,
) -> SessionRecord:
    """Store the session, and end the oldest ones of this WeChat user beyond the limit.

    The one way to a session. Raises: Overtaken if another attempt of the same request
    has just stored it; ConfirmationNeeded when the account's source has to be asked.
    """
    app, openid, client = attempt.app, attempt.person.openid, attempt.client
    said = attempt.require_enabled(tx, account.key, now_ms=now_ms) or account
    session = SessionRecord.beginning(
        digest=new.digest,
        handle=new.handle,
        app_id=app.app_id,
        openid=openid,
        account=account.key,
        username=said.username or account.username,
        display_name=said.display_name or account.display_name,
        unionid=unionid,
        now_ms=now_ms,
    )
    if not insert_session(
        tx,
        session,
        client_address=client.address,
        client_user_agent=client.user_agent,
        client_device=client.device,
    ):
        raise Overtaken
    replaced = end_surplus_sessions(
        tx,
        app_id=app.app_id,
        openid=openid,
        newest_digest=new.digest,
        keep=app.limits.most_live,
        idle_ms=app.limits.idle_ms,
        absolute_ms=app.limits.absolute_ms,
        now_ms=now_ms,
    )
    for handle in replaced:
        attempt.record(
            tx, Event.SESSION_REPLACED, now_ms=now_ms, account=account.key, session_handle=handle
        )
    attempt.record(tx, Event.LOGIN, now_ms=now_ms, account=account.key, session_handle=new.handle)
    return session

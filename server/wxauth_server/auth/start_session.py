"""Step 5: the SessionId, and the row that knows whose it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from wxauth_server.auth.attempt import LoginAttempt
from wxauth_server.session_id import new_session_handle, new_session_id, session_digest
from wxauth_server.store.accounts import AccountRecord
from wxauth_server.store.audit import Event
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import end_surplus_sessions, insert_session


@dataclass(frozen=True)
class NewSession:
    """A SessionId that is about to be stored as its digest."""

    session_id: str = field(repr=False)
    digest: bytes
    handle: str

    @classmethod
    def create(cls) -> NewSession:
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
) -> None:
    """Store the session, and end the oldest ones of this WeChat user beyond the limit."""
    app, openid, client = attempt.app, attempt.person.openid, attempt.client
    insert_session(
        tx,
        digest=new.digest,
        handle=new.handle,
        app_id=app.app_id,
        openid=openid,
        account=account.key,
        username=account.username,
        display_name=account.display_name,
        unionid=unionid,
        now_ms=now_ms,
        client_address=client.address,
        client_user_agent=client.user_agent,
        client_device=client.device,
    )
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

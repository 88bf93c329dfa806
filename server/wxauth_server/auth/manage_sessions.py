"""What an operator ends: a binding, a session, all sessions of an account or of an app.

Each end and its audit event are one transaction. What an operator does to
accounts is in accounts/manage.py. No command line and no transport here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wxauth_server.apps import Apps
from wxauth_server.auth.validate_session import check_live
from wxauth_server.clock import Clock
from wxauth_server.errors import NotFound, SessionExpired, SessionRevoked
from wxauth_server.store.audit import HERE, Actor, Event, Origin, record_event
from wxauth_server.store.bindings import (
    BindingRecord,
    delete_binding,
    find_binding,
    forbid_sibling_login,
    lock_binding,
)
from wxauth_server.store.ended_sessions import (
    end_session,
    end_sessions_but,
    end_sessions_of_wechat_user,
    end_some_sessions_of_app,
)
from wxauth_server.store.interface import Store, Transaction
from wxauth_server.store.own_sessions import find_session_by_handle
from wxauth_server.store.session_keys import erase_session_key_without_session
from wxauth_server.store.sessions import Cause, SessionRecord

#: Sessions of one transaction: 0.1 s in a table of a million (measured), so that logins
#: write in between.
ENDED_AT_ONCE = 500


@dataclass(frozen=True)
class BindingEnded:
    """A binding that was, and how many live sessions ended with it."""

    binding: BindingRecord
    sessions_ended: int


@dataclass(frozen=True)
class SomeEnded:
    """How many live sessions of an app were marked as ended, and whether there are more."""

    sessions_ended: int
    more: bool


class SessionManager:
    """Ends bindings and sessions. Blocking; thread-safe.

    `actor` is who the audit log shall say did it. Every method raises
    StoreUnavailable when the store fails; it is safe to repeat.
    """

    def __init__(self, store: Store, apps: Apps, clock: Clock, *, actor: Actor) -> None:
        self._store = store
        self._apps = apps
        self._clock = clock
        self._actor = actor

    def end_binding(self, app_id: str, openid: str, *, origin: Origin = HERE) -> BindingEnded:
        """End a binding and all sessions of the WeChat user in that app.

        Only a password brings a binding back. Raises: NotFound.
        """
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> BindingEnded:
            found = find_binding(tx, app_id, openid)
            # The lock keeps a login of the same WeChat user from starting a session
            # between the end of the others and the end of the binding.
            if found is None or lock_binding(tx, app_id, openid, found.account) is None:
                raise NotFound("binding")
            ended = end_sessions_of_wechat_user(tx, app_id, openid, Cause.UNBOUND, now_ms=now_ms)
            delete_binding(tx, app_id, openid)
            forbid_sibling_login(tx, app_id, openid)
            record_event(
                tx,
                Event.UNBOUND,
                now_ms=now_ms,
                actor=self._actor,
                app_id=app_id,
                openid=openid,
                account=found.account,
                client_address=origin.client_address,
                caller=origin.caller,
            )
            return BindingEnded(found, self._live(ended, now_ms))

        return self._store.write(transaction)

    def end_session(self, handle: str, *, origin: Origin = HERE) -> int:
        """End the session with this handle; 0 if it was dead before. Raises: NotFound."""
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> int:
            session = find_session_by_handle(tx, handle)
            if session is None:
                raise NotFound("session")
            if not end_session(tx, session.digest, Cause.ADMIN, now_ms=now_ms):
                return 0
            if (app := self._apps.get(session.app_id)) is not None:
                erase_session_key_without_session(
                    tx,
                    session.app_id,
                    session.openid,
                    idle_ms=app.limits.idle_ms,
                    absolute_ms=app.limits.absolute_ms,
                    now_ms=now_ms,
                )
            record_event(
                tx,
                Event.SESSIONS_ENDED,
                now_ms=now_ms,
                actor=self._actor,
                app_id=session.app_id,
                openid=session.openid,
                account=session.account,
                session_handle=session.handle,
                client_address=origin.client_address,
                caller=origin.caller,
            )
            return self._live([session], now_ms)

        return self._store.write(transaction)

    def end_sessions_of_account(self, account: tuple[str, str], *, origin: Origin = HERE) -> int:
        """End all sessions of an account in all apps; how many live ones that were."""
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> int:
            ended = end_sessions_but(tx, account, Cause.ADMIN, kept_handle=None, now_ms=now_ms)
            if ended:
                record_event(
                    tx,
                    Event.SESSIONS_ENDED,
                    now_ms=now_ms,
                    actor=self._actor,
                    account=account,
                    client_address=origin.client_address,
                    caller=origin.caller,
                    count=len(ended),
                )
            return self._live(ended, now_ms)

        return self._store.write(transaction)

    def end_some_of_app(self, app_id: str, *, begun_by_ms: int, origin: Origin = HERE) -> SomeEnded:
        """End all sessions of an app that began by a time; mark ENDED_AT_ONCE of them.

        None of them is live from now on. Those that are marked are counted; what is left
        to mark is marked by the next calls, or by the purge.
        """
        now_ms = self._clock.now_ms()

        def transaction(tx: Transaction) -> SomeEnded:
            ended = end_some_sessions_of_app(
                tx,
                app_id,
                Cause.ADMIN,
                begun_by_ms=begun_by_ms,
                limit=ENDED_AT_ONCE,
                now_ms=now_ms,
            )
            if ended:
                record_event(
                    tx,
                    Event.SESSIONS_ENDED,
                    now_ms=now_ms,
                    actor=self._actor,
                    app_id=app_id,
                    client_address=origin.client_address,
                    caller=origin.caller,
                    count=len(ended),
                )
            return SomeEnded(self._live(ended, now_ms), more=len(ended) == ENDED_AT_ONCE)

        return self._store.write(transaction)

    def _live(self, ended: Iterable[SessionRecord], now_ms: int) -> int:
        """How many of these would be live, had they not just been ended."""
        before = (session._replace(ended_at=None) for session in ended)
        return sum(is_live(session, self._apps, now_ms) for session in before)


def is_live(session: SessionRecord, apps: Apps, now_ms: int) -> bool:
    """Whether a validation of the session, as the record has it, would succeed."""
    app = apps.get(session.app_id)
    if app is None:
        return False
    try:
        check_live(session, app, now_ms)
    except (SessionExpired, SessionRevoked):
        return False
    return True

"""The user leaves: sessions, bindings, names and password go, on fresh proof by the owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.throttle import NameDigests
from wxauth_server.apps import Apps
from wxauth_server.auth.erase_traces import erase_traces
from wxauth_server.auth.exchange_code import RETRY_WITHIN_MS
from wxauth_server.auth.prove_owner import OwnerProof, Proof
from wxauth_server.auth.pseudonyms import Pseudonyms
from wxauth_server.auth.validate_session import LiveSession, SessionValidator, was_live
from wxauth_server.deadline import Deadline
from wxauth_server.errors import SessionRevoked
from wxauth_server.store.accounts import AccountRecord, lock_enabled_account
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.deleted_accounts import delete_account
from wxauth_server.store.departures import delete_bindings_of_account, note_departures
from wxauth_server.store.ended_sessions import end_sessions_of_account
from wxauth_server.store.interface import Transaction
from wxauth_server.store.own_sessions import sessions_not_ended
from wxauth_server.store.sessions import Cause, SessionRecord, read_session
from wxauth_server.store.throttles import unlock_name

#: Rows that get pseudonyms at once, sessions and audit events: some 10 ms. What is
#: more than that is done by the purge, within a minute.
ROWS_AT_ONCE = 200


@dataclass(frozen=True)
class DeleteResult:
    """What was deleted."""

    #: (source, id)
    account: tuple[str, str]
    bindings_ended: int
    sessions_ended: int


class DeleteAccountFlow:
    """Deletes accounts. `on_deleted` is called after each."""

    def __init__(
        self,
        *,
        apps: Apps,
        validator: SessionValidator,
        owner: OwnerProof,
        names: NameDigests,
        pseudonyms: Pseudonyms,
        on_deleted: Callable[[], None],
    ) -> None:
        self._apps = apps
        self._validator = validator
        self._owner = owner
        self._names = names
        self._pseudonyms = pseudonyms
        self._on_deleted = on_deleted

    async def delete(self, session_id: str, proof: Proof, deadline: Deadline) -> DeleteResult:
        """Check the session, then the proof, then end everything in one step.

        Raises: what AuthService.DeleteAccount lists in the contract.
        """
        live = await self._validator.validate(session_id)
        result = await self._owner.act(
            live,
            proof,
            Event.DELETE_REFUSED,
            deadline,
            lambda tx, now_ms: self._delete(tx, live, now_ms),
        )
        self._on_deleted()
        return result

    def _delete(
        self, tx: Transaction, live: LiveSession, now_ms: int
    ) -> DeleteResult | SessionRevoked:
        session = live.record
        # The lock keeps logins from binding to the account until it is done.
        account = lock_enabled_account(tx, *session.account)
        current = read_session(tx, session.digest)
        if account is None or current is None or current.ended_cause is not None:
            # Somebody else was first: the proof was for a session that is no more.
            cause = current.ended_cause if current else None
            return SessionRevoked(cause or Cause.ACCOUNT_DISABLED)
        note_departures(tx, account.key, now_ms=now_ms)
        bindings_ended = delete_bindings_of_account(
            tx, account.key, logins_since_ms=now_ms - RETRY_WITHIN_MS
        )
        sessions_ended = sum(
            self._was_live(each, now_ms) for each in sessions_not_ended(tx, account.key)
        )
        end_sessions_of_account(tx, account.key, Cause.ACCOUNT_DELETED, now_ms=now_ms)
        self._forget_failures(tx, account, session.username)
        local = account.source == LOCAL
        delete_account(
            tx,
            *account.key,
            disabled_at=now_ms if local else None,
            told_at=now_ms if local else None,
            now_ms=now_ms,
        )
        erase_traces(tx, self._pseudonyms, now_ms=now_ms, account=account.key, limit=ROWS_AT_ONCE)
        record_event(
            tx,
            Event.ACCOUNT_DELETED,
            now_ms=now_ms,
            app_id=session.app_id,
            openid=self._pseudonyms.of_wechat_user(session.app_id, session.openid),
            account=(account.source, self._pseudonyms.of_account(*account.key)),
            session_handle=self._pseudonyms.of_session(session.handle),
        )
        return DeleteResult(account.key, bindings_ended, sessions_ended)

    def _was_live(self, session: SessionRecord, now_ms: int) -> bool:
        app = self._apps.get(session.app_id)
        return app is not None and was_live(session, app.limits, now_ms)

    def _forget_failures(
        self, tx: Transaction, account: AccountRecord, username: str | None
    ) -> None:
        # Those of the WeChat user on other names stay for their day: else whoever
        # guesses would leave, come back and guess on.
        unlock_name(tx, self._names.of_id(*account.key))
        for name in {account.username, username}:
            if name:
                unlock_name(tx, self._names.of(account.source, name))

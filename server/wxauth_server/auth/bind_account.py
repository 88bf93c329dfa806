"""Step 4, second half: which WeChat user is which account.

The functions here are transactions: binding, session and audit event hold
together or not at all. Rows are locked in the order account, binding, sessions
(design.md section 4, step 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from wxauth_server.accounts.passwords import pepper_id_of
from wxauth_server.accounts.sources.source import LOCAL, VerifiedAccount
from wxauth_server.auth.attempt import LoginAttempt
from wxauth_server.auth.start_session import NewSession, start_session
from wxauth_server.errors import (
    AccountAlreadyBound,
    AccountDisabled,
    AuthError,
    CredentialsInvalid,
    OpenidAlreadyBound,
)
from wxauth_server.keyring import Purpose
from wxauth_server.store.accounts import (
    AccountRecord,
    lock_bound_account,
    lock_enabled_account,
    update_password_hash,
)
from wxauth_server.store.audit import Event, record_event
from wxauth_server.store.bindings import (
    BindingRecord,
    allow_sibling_login,
    bindings_of_account,
    delete_binding,
    find_binding,
    find_exclusive_binding,
    insert_binding,
    lock_binding,
)
from wxauth_server.store.ended_sessions import end_sessions_of_wechat_user
from wxauth_server.store.exchanges import ExchangeRecord
from wxauth_server.store.interface import Transaction
from wxauth_server.store.keys import note_key_in_use
from wxauth_server.store.mirrored_accounts import note_account
from wxauth_server.store.sessions import Cause, SessionRecord, update_unionid


@dataclass(frozen=True)
class Bound:
    """The WeChat user is an account, and its session is stored."""

    session: SessionRecord
    bound_now: bool


class Changed:
    """Somebody changed the account or the binding meanwhile: start over."""


class Unbound:
    """The WeChat user is no account yet."""


#: A refusal is returned, not raised: its audit event must be committed.
Outcome: TypeAlias = Bound | Changed | AuthError


def log_in_with_credentials(
    tx: Transaction,
    attempt: LoginAttempt,
    verified: VerifiedAccount,
    new: NewSession,
    *,
    rebind: bool,
    now_ms: int,
) -> Outcome:
    """Bind the WeChat user to the verified account, unless it is already, and log in.

    A conflict is OpenidAlreadyBound or AccountAlreadyBound and changes nothing,
    but with `rebind` what is in the way ends.
    """
    source, account_id = attempt.app.account_source, verified.account.id
    if source != LOCAL:  # its home is elsewhere: the lock needs a row here
        note_account(tx, source, account_id, now_ms=now_ms)
    account = lock_enabled_account(
        tx, source, account_id, password_version=verified.password_version
    )
    if account is None:
        if source == LOCAL:
            return Changed()
        refusal = CredentialsInvalid()  # its home lets it in, an operator here does not
        record_refusal(tx, attempt, refusal, (source, account_id), now_ms=now_ms)
        return refusal
    if rebind:
        _make_room(tx, attempt, account, now_ms=now_ms)
    outcome = bind(tx, attempt, account, new, now_ms=now_ms)
    if outcome is None:
        in_the_way = find_binding(tx, attempt.app.app_id, attempt.person.openid)
        conflict = AccountAlreadyBound() if in_the_way is None else OpenidAlreadyBound()
        record_refusal(tx, attempt, conflict, account.key, now_ms=now_ms)
        return conflict
    allow_sibling_login(tx, attempt.app.app_id, attempt.person.openid)
    if verified.new_hash is not None:
        update_password_hash(
            tx,
            source,
            account_id,
            password=verified.new_hash,
            verified_version=account.password_version,
        )
        note_key_in_use(tx, Purpose.PEPPER, pepper_id_of(verified.new_hash))
    return outcome


def log_in_bound(
    tx: Transaction, attempt: LoginAttempt, new: NewSession, *, now_ms: int
) -> Outcome | Unbound:
    """Log in a WeChat user who is bound to an enabled account.

    AccountDisabled when the binding is to an account that is gone or disabled.
    """
    account = lock_bound_account(tx, attempt.app.app_id, attempt.person.openid)
    if account is None:
        found = find_binding(tx, attempt.app.app_id, attempt.person.openid)
        if found is None:
            return Unbound()
        account = lock_enabled_account(tx, *found.account)
        if account is None:
            refusal = AccountDisabled()
            record_refusal(tx, attempt, refusal, found.account, now_ms=now_ms)
            return refusal
    binding = _lock_binding(tx, attempt, account)
    if binding is None:
        return Changed()
    session = start_session(tx, new, attempt, account, unionid=binding.unionid, now_ms=now_ms)
    return Bound(session, bound_now=False)


def bind(
    tx: Transaction,
    attempt: LoginAttempt,
    account: AccountRecord,
    new: NewSession,
    *,
    now_ms: int,
) -> Bound | None:
    """Bind the WeChat user to a locked account, unless it is already, and log in.

    None when another binding is in the way.
    """
    app, person = attempt.app, attempt.person
    bound_now = insert_binding(
        tx,
        app_id=app.app_id,
        openid=person.openid,
        account=account.key,
        exclusive=not app.several_users_per_account,
        unionid=person.unionid,
        now_ms=now_ms,
    )
    binding = _lock_binding(tx, attempt, account)
    if binding is None:
        return None
    if bound_now:
        attempt.record(tx, Event.BOUND, now_ms=now_ms, account=account.key)
    session = start_session(tx, new, attempt, account, unionid=binding.unionid, now_ms=now_ms)
    return Bound(session, bound_now)


def record_refusal(
    tx: Transaction,
    attempt: LoginAttempt,
    refusal: AuthError,
    account: tuple[str, str] | None,
    *,
    now_ms: int,
) -> None:
    """Append the audit event of a login that was refused."""
    attempt.record(
        tx, Event.LOGIN_REFUSED, now_ms=now_ms, account=account, reason=refusal.reason_name()
    )


def _make_room(
    tx: Transaction, attempt: LoginAttempt, account: AccountRecord, *, now_ms: int
) -> None:
    """End the bindings that are in the way of this one: the user has asked for it."""
    app, person = attempt.app, attempt.person
    former = find_binding(tx, app.app_id, person.openid)
    if former is not None and former.account != account.key:
        _end(tx, attempt, former, now_ms=now_ms)
    if app.several_users_per_account:
        return
    displaced = find_exclusive_binding(tx, app.app_id, account.key)
    if displaced is None or displaced.openid == person.openid:
        return
    _end(tx, attempt, displaced, now_ms=now_ms)
    # Through a sibling the displaced WeChat user would come right back.
    for binding in bindings_of_account(tx, account.key):
        if binding.app_id in attempt.siblings and _may_be_the_same(binding, displaced, person):
            _end(tx, attempt, binding, now_ms=now_ms)


def _may_be_the_same(
    binding: BindingRecord, displaced: BindingRecord, person: ExchangeRecord
) -> bool:
    """Whether a sibling's binding may be the displaced WeChat user's."""
    if displaced.unionid is None:  # WeChat did not send one in those days
        return binding.unionid is None or binding.unionid != person.unionid
    return binding.unionid == displaced.unionid


def _end(tx: Transaction, attempt: LoginAttempt, binding: BindingRecord, *, now_ms: int) -> None:
    delete_binding(tx, binding.app_id, binding.openid)
    end_sessions_of_wechat_user(tx, binding.app_id, binding.openid, Cause.REBOUND, now_ms=now_ms)
    record_event(
        tx,
        Event.REBOUND,
        now_ms=now_ms,
        app_id=binding.app_id,
        openid=binding.openid,
        account=binding.account,
        client_address=attempt.client.address,
    )


def _lock_binding(
    tx: Transaction, attempt: LoginAttempt, account: AccountRecord
) -> BindingRecord | None:
    person = attempt.person
    locked = lock_binding(
        tx,
        person.app_id,
        person.openid,
        account.key,
        unionid=person.unionid,
        session_key=person.session_key,
        session_key_id=person.session_key_id,
        session_key_at=person.exchanged_at,
    )
    if locked is not None and person.unionid:
        update_unionid(tx, person.app_id, person.openid, person.unionid)
    return locked

"""Step 4, second half: which WeChat user is which account.

The functions here are transactions: binding, session and audit event hold
together or not at all. Rows are locked in the order account, binding, sessions
(design.md section 4, step 5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from wxauth_server.accounts.passwords import pepper_id_of
from wxauth_server.auth.attempt import LoginAttempt
from wxauth_server.auth.start_session import NewSession, start_session
from wxauth_server.auth.verify_credentials import VerifiedAccount
from wxauth_server.errors import (
    AccountAlreadyBound,
    AccountDisabled,
    AuthError,
    BindingRequired,
    OpenidAlreadyBound,
)
from wxauth_server.keyring import Purpose
from wxauth_server.store.accounts import (
    AccountRecord,
    lock_enabled_account,
    note_key_in_use,
    update_password_hash,
)
from wxauth_server.store.audit import Event
from wxauth_server.store.bindings import (
    BindingRecord,
    find_binding,
    insert_binding,
    lock_binding,
)
from wxauth_server.store.interface import Transaction
from wxauth_server.store.sessions import update_unionid


@dataclass(frozen=True)
class Bound:
    """The WeChat user is this account, and its session is stored."""

    account: AccountRecord
    bound_now: bool


class Changed:
    """Somebody changed the account or the binding meanwhile: start over."""


#: A refusal is returned, not raised: its audit event must be committed.
Outcome: TypeAlias = Bound | Changed | AuthError


def log_in_with_credentials(
    tx: Transaction,
    attempt: LoginAttempt,
    verified: VerifiedAccount,
    new: NewSession,
    *,
    now_ms: int,
) -> Outcome:
    """Bind the WeChat user to the verified account, unless it is already, and log in.

    A conflict is OpenidAlreadyBound or AccountAlreadyBound and changes nothing.
    """
    source, account_id = verified.record.key
    account = lock_enabled_account(
        tx, source, account_id, password_version=verified.record.password_version
    )
    if account is None:
        return Changed()
    app, person = attempt.app, attempt.person
    bound_now = insert_binding(
        tx,
        app_id=app.app_id,
        openid=person.openid,
        account=account.key,
        exclusive=not app.several_users_per_account,
        unionid=person.unionid or None,
        now_ms=now_ms,
    )
    binding = _lock_binding(tx, attempt, account)
    if binding is None:
        in_the_way = find_binding(tx, app.app_id, person.openid)
        conflict = AccountAlreadyBound() if in_the_way is None else OpenidAlreadyBound()
        record_refusal(tx, attempt, conflict, account.key, now_ms=now_ms)
        return conflict
    if bound_now:
        attempt.record(tx, Event.BOUND, now_ms=now_ms, account=account.key)
    if verified.new_hash is not None:
        update_password_hash(
            tx,
            source,
            account_id,
            password=verified.new_hash,
            verified_version=account.password_version,
        )
        note_key_in_use(tx, Purpose.PEPPER, pepper_id_of(verified.new_hash))
    start_session(tx, new, attempt, account, unionid=binding.unionid, now_ms=now_ms)
    return Bound(account, bound_now)


def log_in_silently(
    tx: Transaction, attempt: LoginAttempt, new: NewSession, *, now_ms: int
) -> Outcome:
    """Log in a WeChat user who is bound to an enabled account.

    BindingRequired when there is no binding, AccountDisabled when there is one
    to an account that is gone or disabled.
    """
    found = find_binding(tx, attempt.app.app_id, attempt.person.openid)
    if found is None:
        # No audit event: it is how every user's first visit begins.
        return BindingRequired()
    account = lock_enabled_account(tx, *found.account)
    if account is None:
        refusal = AccountDisabled()
        record_refusal(tx, attempt, refusal, found.account, now_ms=now_ms)
        return refusal
    binding = _lock_binding(tx, attempt, account)
    if binding is None:
        return Changed()
    start_session(tx, new, attempt, account, unionid=binding.unionid, now_ms=now_ms)
    return Bound(account, bound_now=False)


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


def _lock_binding(
    tx: Transaction, attempt: LoginAttempt, account: AccountRecord
) -> BindingRecord | None:
    app_id, person = attempt.app.app_id, attempt.person
    locked = lock_binding(tx, app_id, person.openid, account.key, unionid=person.unionid or None)
    if locked is not None and person.unionid:
        update_unionid(tx, app_id, person.openid, person.unionid)
    return locked

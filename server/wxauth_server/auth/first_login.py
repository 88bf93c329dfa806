"""Step 4 for a WeChat user without a binding who gives no password.

In this order: the account the same person is bound to in a sibling app, the
account with the phone number that WeChat confirms, a new account; each only
where the app is configured so. Else credentials are required.
"""

from __future__ import annotations

import secrets

from wxauth_server.auth.attempt import LoginAttempt
from wxauth_server.auth.bind_account import Changed, Outcome, bind, record_refusal
from wxauth_server.auth.start_session import NewSession
from wxauth_server.errors import BindingRequired
from wxauth_server.store.accounts import (
    AccountRecord,
    accounts_of_phone,
    insert_account,
    lock_enabled_account,
)
from wxauth_server.store.audit import Event
from wxauth_server.store.bindings import (
    bindings_of_unionid,
    find_exclusive_binding,
    may_log_in_by_sibling,
)
from wxauth_server.store.interface import Transaction
from wxauth_server.wechat.phone_number import PhoneNumber

#: 128 bits: nobody's id by chance.
_RANDOM_ID_BYTES = 16


class PhoneNumberNeeded:
    """It is for WeChat to say which number the phone code stands for."""


def log_in_unbound(
    tx: Transaction,
    attempt: LoginAttempt,
    new: NewSession,
    *,
    phone: PhoneNumber | None,
    has_phone_code: bool,
    now_ms: int,
) -> Outcome | PhoneNumberNeeded:
    """Find or make the account of a WeChat user without one, bind it and log in.

    BindingRequired when there is none. PhoneNumberNeeded when the phone code
    decides; nothing is done then.
    """
    bound_to = _accounts_of_siblings(tx, attempt)
    account = _only_free(tx, attempt, bound_to)
    if account is None and has_phone_code:
        if phone is None:
            return PhoneNumberNeeded()
        candidates = accounts_of_phone(tx, attempt.app.account_source, phone.e164)
        if candidates:
            # Numbers get new owners: where two accounts have it, one is out of date.
            account = _lock_if_free(tx, attempt, candidates[0].key) if not candidates[1:] else None
            if account is None:
                return _binding_required(tx, attempt, now_ms=now_ms)
    # Who has an account in a sibling gets no second one, whatever is wrong with that.
    if account is None and attempt.app.registers and not bound_to:
        account = _register(tx, attempt, phone, now_ms=now_ms)
    if account is None:
        return _binding_required(tx, attempt, now_ms=now_ms)
    return bind(tx, attempt, account, new, now_ms=now_ms) or Changed()


def _binding_required(tx: Transaction, attempt: LoginAttempt, *, now_ms: int) -> BindingRequired:
    refusal = BindingRequired()
    record_refusal(tx, attempt, refusal, None, now_ms=now_ms)
    return refusal


def _accounts_of_siblings(tx: Transaction, attempt: LoginAttempt) -> set[tuple[str, str]]:
    """The accounts that this person is bound to in the siblings, unless they left here."""
    unionid = attempt.person.unionid
    if not (attempt.siblings and unionid):
        return set()
    if not may_log_in_by_sibling(tx, attempt.app.app_id, attempt.person.openid):
        return set()
    return {
        binding.account
        for binding in bindings_of_unionid(tx, unionid)
        if binding.app_id in attempt.siblings
        and binding.account_source == attempt.app.account_source
    }


def _only_free(
    tx: Transaction, attempt: LoginAttempt, accounts: set[tuple[str, str]]
) -> AccountRecord | None:
    """The one of these accounts that is enabled and free here, if it is one."""
    # In one order everywhere, so that two such logins cannot wait for each other.
    locked = (_lock_if_free(tx, attempt, account) for account in sorted(accounts))
    candidates = [account for account in locked if account is not None]
    return candidates[0] if len(candidates) == 1 else None


def _lock_if_free(
    tx: Transaction, attempt: LoginAttempt, account: tuple[str, str]
) -> AccountRecord | None:
    app = attempt.app
    locked = lock_enabled_account(tx, *account)
    if locked is None or app.several_users_per_account:
        return locked
    return locked if find_exclusive_binding(tx, app.app_id, account) is None else None


def _register(
    tx: Transaction, attempt: LoginAttempt, phone: PhoneNumber | None, *, now_ms: int
) -> AccountRecord | None:
    source, account_id = attempt.app.account_source, secrets.token_hex(_RANDOM_ID_BYTES)
    insert_account(
        tx,
        source=source,
        account_id=account_id,
        username=None,
        username_key=None,
        display_name=None,
        phone=phone.e164 if phone else None,
        phone_verified=phone is not None,
        password=None,
        now_ms=now_ms,
    )
    attempt.record(tx, Event.ACCOUNT_ADDED, now_ms=now_ms, account=(source, account_id))
    return lock_enabled_account(tx, source, account_id)

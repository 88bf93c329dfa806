"""AdminService: accounts of any source are disabled, enabled and unlocked."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from wxauth.v1.admin_service_pb2 import (
    DisableAccountRequest,
    DisableAccountResponse,
    EnableAccountRequest,
    EnableAccountResponse,
    UnlockAccountRequest,
    UnlockAccountResponse,
)
from wxauth_server.accounts.account_fields import check_id
from wxauth_server.accounts.manage import AccountManager, NoSuchAccount
from wxauth_server.accounts.sources.source import LOCAL
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES
from wxauth_server.errors import NotFound
from wxauth_server.rpc.admin.fields import MAX_SOURCE_BYTES, AdminViolations, find_key, source_of
from wxauth_server.rpc.admin.seen_accounts import SeenAccounts
from wxauth_server.store.audit import HERE, Origin
from wxauth_server.store.interface import Store


class AccessCalls:
    """Answers from the store. Blocking; thread-safe. `sources` are those configured."""

    def __init__(
        self,
        store: Store,
        manager: AccountManager,
        seen: SeenAccounts,
        *,
        sources: Collection[str],
    ) -> None:
        self._store = store
        self._manager = manager
        self._seen = seen
        self._sources = sources

    def disable(
        self, request: DisableAccountRequest, origin: Origin = HERE
    ) -> DisableAccountResponse:
        violations = AdminViolations()
        violations.account(request.account)
        if request.account.id:
            violations.check("account.id", partial(check_id, request.account.id))
        # Else a name that is mistyped would be remembered, and the user not locked out.
        self._check_source(violations, "account.source", source_of(request.account))
        violations.raise_if_any()
        source, account_id = self._store.read(lambda tx: find_key(tx, request.account))
        try:
            change = self._manager.disable(account_id, source=source, origin=origin)
        except NoSuchAccount:
            raise NotFound("account") from None
        return DisableAccountResponse(
            account=self._seen.details(change.account.key),
            changed=change.changed,
            sessions_ended=change.sessions_ended,
        )

    def enable(self, request: EnableAccountRequest, origin: Origin = HERE) -> EnableAccountResponse:
        violations = AdminViolations()
        violations.account(request.account)
        violations.raise_if_any()
        source, account_id = self._store.read(lambda tx: find_key(tx, request.account))
        try:
            change = self._manager.enable(account_id, source=source, origin=origin)
        except NoSuchAccount:
            raise NotFound("account") from None
        return EnableAccountResponse(
            account=self._seen.details(change.account.key), changed=change.changed
        )

    def unlock(self, request: UnlockAccountRequest, origin: Origin = HERE) -> UnlockAccountResponse:
        violations = AdminViolations()
        violations.text("source", request.source, MAX_SOURCE_BYTES)
        source = request.source or LOCAL
        self._check_source(violations, "source", source)
        violations.text("username", request.username, MAX_USERNAME_BYTES, required=True)
        violations.raise_if_any()
        return UnlockAccountResponse(
            changed=self._manager.unlock(source, request.username, origin=origin)
        )

    def _check_source(self, violations: AdminViolations, field: str, source: str) -> None:
        if source not in self._sources:
            known = ", ".join(sorted(self._sources))
            violations.add(field, f"no account source that is configured: there is {known}")

"""AdminService: accounts of another system are imported, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping

from wxauth.v1.admin_service_pb2 import (
    ImportAccountsRequest,
    ImportAccountsResponse,
    ImportedAccount,
    ImportOutcome,
)
from wxauth_server.accounts.imports.importing import AccountImporter, AccountRow, Outcome, Result
from wxauth_server.rpc.admin.fields import AdminViolations
from wxauth_server.store.audit import HERE, Origin

#: Accounts of one request.
MAX_ACCOUNTS = 256

_RESULTS: Mapping[Result, ImportOutcome.Result.ValueType] = {
    Result.ADDED: ImportOutcome.RESULT_ADDED,
    Result.UNCHANGED: ImportOutcome.RESULT_UNCHANGED,
    Result.REFUSED: ImportOutcome.RESULT_REFUSED,
}


class ImportCalls:
    """Answers from the store. Blocking; thread-safe."""

    def __init__(self, importer: AccountImporter) -> None:
        self._importer = importer

    def import_accounts(
        self, request: ImportAccountsRequest, origin: Origin = HERE
    ) -> ImportAccountsResponse:
        violations = AdminViolations()
        if not 1 <= len(request.accounts) <= MAX_ACCOUNTS:
            violations.add("accounts", f"not 1 to {MAX_ACCOUNTS}")
        violations.raise_if_any()
        outcomes = self._importer.import_batch(
            [_row(account) for account in request.accounts],
            dry_run=request.dry_run,
            origin=origin,
        )
        return ImportAccountsResponse(outcomes=map(_outcome, outcomes))


def _row(account: ImportedAccount) -> AccountRow:
    return AccountRow(
        id=account.id,
        username=account.username or None,
        display_name=account.display_name or None,
        phone=account.phone or None,
        phone_verified=account.phone_verified,
        password_hash=account.password_hash or None,
        disabled=account.disabled,
    )


def _outcome(outcome: Outcome) -> ImportOutcome:
    return ImportOutcome(result=_RESULTS[outcome.result], problem=outcome.problem)

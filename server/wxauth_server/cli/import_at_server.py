"""An import through the AdminService of a server that runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from wxauth.v1.admin_service_pb2 import (
    ImportAccountsRequest,
    ImportAccountsResponse,
    ImportedAccount,
    ImportOutcome,
)
from wxauth_server.accounts.imports.importing import AccountRow, Outcome, Result, refusal_of
from wxauth_server.cli.admin_connection import AdminRefused

if TYPE_CHECKING:
    from wxauth_server.rpc.admin_calls import AdminCalls

#: Below the 64 KiB of a request, which holds 256 accounts at most.
_MOST_BYTES = 60_000
_MOST_ACCOUNTS = 256
#: What announces an account in a request: its tag and its length.
_MOST_BYTES_AROUND = 6
#: A server that says when to ask again is asked so often.
_TRIES = 10

_RESULTS: Mapping[ImportOutcome.Result.ValueType, Result] = {
    ImportOutcome.RESULT_ADDED: Result.ADDED,
    ImportOutcome.RESULT_UNCHANGED: Result.UNCHANGED,
    ImportOutcome.RESULT_REFUSED: Result.REFUSED,
}


class ServerImport:
    """An `ImportBatch` at a server. Raises: what `connect_admin` says."""

    def __init__(self, admin: AdminCalls) -> None:
        self._admin = admin

    def __call__(self, rows: Sequence[AccountRow], *, dry_run: bool) -> list[Outcome]:
        # Looked at here, since what is too long or no UTF-8 fits into no request.
        refusals = [refusal_of(row) for row in rows]
        sent = [row for row, refusal in zip(rows, refusals, strict=True) if refusal is None]
        outcomes = iter(
            Outcome(_RESULTS[outcome.result], outcome.problem)
            for request in _requests(sent, dry_run=dry_run)
            for outcome in self._ask(request).outcomes
        )
        return [refusal or next(outcomes) for refusal in refusals]

    def _ask(self, request: ImportAccountsRequest) -> ImportAccountsResponse:
        for left in reversed(range(_TRIES)):
            try:
                return self._admin.ImportAccounts(request)
            except AdminRefused as refused:
                if refused.retry_after_s is None or not left:
                    raise
                time.sleep(refused.retry_after_s)
        raise AssertionError("not reached")


def _requests(rows: Sequence[AccountRow], *, dry_run: bool) -> Iterator[ImportAccountsRequest]:
    request = ImportAccountsRequest(dry_run=dry_run)
    size = 0
    for row in rows:
        account = ImportedAccount(
            id=row.id,
            username=row.username or "",
            display_name=row.display_name or "",
            phone=row.phone or "",
            phone_verified=row.phone_verified,
            password_hash=row.password_hash or "",
            disabled=row.disabled,
        )
        size += account.ByteSize() + _MOST_BYTES_AROUND
        if size > _MOST_BYTES or len(request.accounts) == _MOST_ACCOUNTS:
            yield request
            request = ImportAccountsRequest(dry_run=dry_run)
            size = account.ByteSize() + _MOST_BYTES_AROUND
        request.accounts.append(account)
    if request.accounts:
        yield request

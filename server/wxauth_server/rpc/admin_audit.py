"""AdminService.ListAuditEvents: the audit log as it may leave the database."""

from __future__ import annotations

import re
from dataclasses import replace

from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.admin_service_pb2 import (
    AccountKey,
    AuditEvent,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
)
from wxauth_server.accounts.source import LOCAL
from wxauth_server.accounts.usernames import MAX_USERNAME_BYTES, username_key
from wxauth_server.digests import OpenidDigests
from wxauth_server.errors import RequestInvalid
from wxauth_server.rpc.violations import Violations
from wxauth_server.store.accounts import find_account_by_username
from wxauth_server.store.audit import Event
from wxauth_server.store.audit_log import AuditFilter, AuditPage, AuditRecord, list_events
from wxauth_server.store.interface import Store, Transaction

#: The limits that the contract states; texts in bytes of UTF-8.
MAX_APP_ID_BYTES = 64
MAX_OPENID_BYTES = 64
MAX_SOURCE_BYTES = 32
MAX_ACCOUNT_ID_BYTES = 128
MAX_EVENTS = 32
MAX_PAGE = 500
DEFAULT_PAGE = 100

_EVENTS = frozenset(event.value for event in Event)
_LARGEST_ID = 2**63 - 1
_PAGE_TOKEN = re.compile(r"[0-9]{1,19}")


class AuditCalls:
    """Answers from the store. Blocking; thread-safe."""

    def __init__(self, store: Store, digests: OpenidDigests, *, kept_ms: int | None) -> None:
        """`kept_ms` is the age at which events are purged; None: never."""
        self._store = store
        self._digests = digests
        self._kept_ms = kept_ms

    def ListAuditEvents(  # noqa: N802 - named by the contract
        self, request: ListAuditEventsRequest
    ) -> ListAuditEventsResponse:
        """A page of events, openids under pseudonyms.

        Raises: RequestInvalid, also for a username that no account has; StoreUnavailable.
        """
        wanted = _filter(request)
        beyond = int(request.page_token) if request.page_token else None

        def work(tx: Transaction) -> AuditPage:
            account = _account(tx, request.account) if request.HasField("account") else None
            return list_events(
                tx,
                replace(wanted, account=account),
                oldest_first=request.oldest_first,
                limit=request.page_size or DEFAULT_PAGE,
                beyond=beyond,
            )

        page = self._store.read(work)
        answer = ListAuditEventsResponse(
            events=[self._event(record) for record in page.events],
            next_page_token="" if page.next is None else str(page.next),
        )
        if self._kept_ms is not None:
            answer.kept_for.FromMilliseconds(self._kept_ms)
        return answer

    def _event(self, record: AuditRecord) -> AuditEvent:
        digest = self._digests.of(record.app_id or "", record.openid) if record.openid else ""
        event = AuditEvent(
            id=record.id,
            event=record.event,
            reason=record.reason or "",
            count=record.times,
            actor=record.actor or "",
            app_id=record.app_id or "",
            openid_digest=digest,
            account_source=record.account_source or "",
            account_id=record.account_id or "",
            session_handle=record.session_handle or "",
            client_address=record.client_address or "",
        )
        event.time.FromMilliseconds(record.at)
        return event


def _filter(request: ListAuditEventsRequest) -> AuditFilter:
    """What is asked for, but for the account, which the store may have to be asked about.

    Raises: RequestInvalid, naming every field that is wrong.
    """
    violations = Violations()
    since_ms = until_ms = None
    if request.HasField("since"):
        since_ms = _milliseconds(violations, "since", request.since)
    if request.HasField("until"):
        until_ms = _milliseconds(violations, "until", request.until)
    if since_ms is not None and until_ms is not None and until_ms < since_ms:
        violations.add("until", "before since")
    if len(request.events) > MAX_EVENTS:
        violations.add("events", f"more than {MAX_EVENTS}")
    elif not _EVENTS.issuperset(request.events):
        violations.add("events", "one is no event of the audit log, such as LOGIN")
    _check_account(violations, request)
    violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
    if violations.text("openid", request.openid, MAX_OPENID_BYTES) and not request.app_id:
        violations.add("openid", "needs app_id")
    if request.after_id < 0:
        violations.add("after_id", "negative")
    if not 0 <= request.page_size <= MAX_PAGE:
        violations.add("page_size", f"not 1 to {MAX_PAGE}")
    if request.page_token and not (
        _PAGE_TOKEN.fullmatch(request.page_token) and int(request.page_token) <= _LARGEST_ID
    ):
        violations.add("page_token", "not the next_page_token of a page before")
    violations.raise_if_any()
    return AuditFilter(
        since_ms=since_ms,
        until_ms=until_ms,
        events=tuple(dict.fromkeys(request.events)),
        app_id=request.app_id or None,
        openid=request.openid or None,
        after_id=request.after_id,
    )


def _milliseconds(violations: Violations, field: str, time: Timestamp) -> int | None:
    """The first millisecond that is not before a time."""
    try:
        return -(-time.ToNanoseconds() // 1_000_000)
    except ValueError:
        violations.add(field, "not a time of the years 1 to 9999")
        return None


def _check_account(violations: Violations, request: ListAuditEventsRequest) -> None:
    if not request.HasField("account"):
        return
    account = request.account
    violations.text("account.source", account.source, MAX_SOURCE_BYTES)
    if account.WhichOneof("account") != "username":
        violations.text("account.id", account.id, MAX_ACCOUNT_ID_BYTES, required=True)
        return
    violations.text("account.username", account.username, MAX_USERNAME_BYTES, required=True)
    if (account.source or LOCAL) != LOCAL:
        violations.add("account.username", "accounts of another source are named by their id")


def _account(tx: Transaction, key: AccountKey) -> tuple[str, str]:
    """(source, id) of the account that is meant.

    Raises: RequestInvalid for a username that no account has: to find nothing about
    it would look as if nothing had happened.
    """
    source = key.source or LOCAL
    if key.WhichOneof("account") == "id":
        return (source, key.id)
    mapped = username_key(key.username)
    found = find_account_by_username(tx, source, mapped) if mapped else None
    if found is None:
        raise RequestInvalid(("account.username", "no account has this username"))
    return found.key

"""AdminService.ListAuditEvents: the audit log as it may leave the database."""

from __future__ import annotations

from dataclasses import replace

from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.admin_service_pb2 import (
    AuditEvent,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
)
from wxauth_server.digests import OpenidDigests
from wxauth_server.errors import RequestInvalid
from wxauth_server.rpc.admin.fields import (
    DEFAULT_PAGE_SIZE,
    MAX_APP_ID_BYTES,
    MAX_OPENID_BYTES,
    AdminViolations,
    find_filter,
    page_token,
    read_page_token,
)
from wxauth_server.rpc.admin.messages import timestamp
from wxauth_server.store.audit import Event
from wxauth_server.store.audit_log import AuditFilter, AuditPage, AuditRecord, list_events
from wxauth_server.store.interface import Store, Transaction

#: The contract's.
MAX_EVENTS = 32
MAX_CALLER_BYTES = 64

_EVENTS = frozenset(event.value for event in Event)
_LARGEST_ID = 2**63 - 1


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
        beyond = _beyond(request.page_token)

        def work(tx: Transaction) -> AuditPage:
            return list_events(
                tx,
                replace(wanted, account=find_filter(tx, request.account)),
                oldest_first=request.oldest_first,
                limit=request.page_size or DEFAULT_PAGE_SIZE,
                beyond=beyond,
            )

        page = self._store.read(work)
        answer = ListAuditEventsResponse(
            events=map(self._event, page.events),
            next_page_token="" if page.next is None else page_token(page.next),
        )
        if self._kept_ms is not None:
            answer.kept_for.FromMilliseconds(self._kept_ms)
        return answer

    def _event(self, record: AuditRecord) -> AuditEvent:
        digest = self._digests.of(record.app_id or "", record.openid) if record.openid else ""
        return AuditEvent(
            id=record.id,
            time=timestamp(record.at),
            event=record.event,
            reason=record.reason or "",
            count=record.times,
            actor=record.actor or "",
            caller=record.caller or "",
            app_id=record.app_id or "",
            openid_digest=digest,
            account_source=record.account_source or "",
            account_id=record.account_id or "",
            session_handle=record.session_handle or "",
            client_address=record.client_address or "",
        )


def _filter(request: ListAuditEventsRequest) -> AuditFilter:
    """What is asked for, but for the account, which the store may have to be asked about.

    Raises: RequestInvalid, naming every field that is wrong.
    """
    violations = AdminViolations()
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
    violations.account(request.account, required=False)
    violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
    if violations.text("openid", request.openid, MAX_OPENID_BYTES) and not request.app_id:
        violations.add("openid", "needs app_id")
    violations.text("caller", request.caller, MAX_CALLER_BYTES)
    if request.after_id < 0:
        violations.add("after_id", "negative")
    violations.page(request.page_size, request.page_token)
    violations.raise_if_any()
    return AuditFilter(
        since_ms=since_ms,
        until_ms=until_ms,
        events=tuple(request.events),
        app_id=request.app_id or None,
        openid=request.openid or None,
        caller=request.caller or None,
        after_id=request.after_id,
    )


def _milliseconds(violations: AdminViolations, field: str, time: Timestamp) -> int | None:
    """The first millisecond that is not before a time."""
    try:
        return -(-time.ToNanoseconds() // 1_000_000)
    except ValueError:
        violations.add(field, "not a time of the years 1 to 9999")
        return None


def _beyond(token: str) -> int | None:
    """The id behind which the page begins; None for the first page.

    Raises: RequestInvalid.
    """
    (beyond,) = read_page_token(token, 0)
    if not 0 <= beyond <= _LARGEST_ID:
        raise RequestInvalid(("page_token", "not the next_page_token of a page of this list"))
    return beyond or None

"""AdminService: sessions are listed and ended."""

from __future__ import annotations

import re

from wxauth.v1.admin_service_pb2 import (
    AdminServiceListSessionsRequest,
    AdminServiceListSessionsResponse,
    EndSessionsRequest,
    EndSessionsResponse,
)
from wxauth_server.apps import Apps
from wxauth_server.auth.manage_sessions import SessionManager
from wxauth_server.clock import Clock
from wxauth_server.errors import NotFound, RequestInvalid
from wxauth_server.rpc.admin.fields import (
    DEFAULT_PAGE_SIZE,
    MAX_APP_ID_BYTES,
    MAX_HANDLE_BYTES,
    AdminViolations,
    find_filter,
    find_key,
    page_token,
    read_page_token,
)
from wxauth_server.rpc.admin.messages import session_details
from wxauth_server.store.admin_accounts import find_account_entry
from wxauth_server.store.admin_sessions import (
    NEWEST,
    SessionPage,
    SessionPosition,
    list_session_entries,
)
from wxauth_server.store.audit import HERE, Origin
from wxauth_server.store.interface import Store, Transaction

_NOT_SERVED = "this server does not serve this mini-program, and there is no session of it to end"
# Milliseconds since 1970.
_CONTINUE_TOKEN = re.compile(r"[0-9]{1,15}")


class SessionCalls:
    """Answers from the store. Blocking; thread-safe."""

    def __init__(self, store: Store, manager: SessionManager, *, apps: Apps, clock: Clock) -> None:
        self._store = store
        self._manager = manager
        self._apps = apps
        self._clock = clock

    def list(
        self, request: AdminServiceListSessionsRequest, origin: Origin = HERE
    ) -> AdminServiceListSessionsResponse:
        del origin
        violations = AdminViolations()
        violations.account(request.account, required=False)
        violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
        violations.page(request.page_size, request.page_token)
        violations.raise_if_any()
        after = SessionPosition(*read_page_token(request.page_token, *NEWEST))
        size = request.page_size or DEFAULT_PAGE_SIZE
        now_ms = self._clock.now_ms()

        def work(tx: Transaction) -> SessionPage:
            return list_session_entries(
                tx,
                account=find_filter(tx, request.account),
                app_id=request.app_id,
                live_in=self._apps if request.live else None,
                now_ms=now_ms,
                after=after,
                limit=size,
            )

        page = self._store.read(work)
        return AdminServiceListSessionsResponse(
            sessions=(session_details(entry, self._apps, now_ms) for entry in page.entries),
            next_page_token="" if page.next is None else page_token(*page.next),
        )

    def end(self, request: EndSessionsRequest, origin: Origin = HERE) -> EndSessionsResponse:
        scope = request.WhichOneof("scope")
        now_ms = self._clock.now_ms()
        violations = AdminViolations()
        match scope:
            case "session_handle":
                violations.text(scope, request.session_handle, MAX_HANDLE_BYTES, required=True)
            case "account":
                violations.account(request.account)
            case "app_id":
                violations.text(scope, request.app_id, MAX_APP_ID_BYTES, required=True)
            case _:
                violations.add("scope", "required: session_handle, account or app_id")
        token = request.continue_token
        if token and scope != "app_id":
            violations.add("continue_token", "needs app_id")
        elif token and not (_CONTINUE_TOKEN.fullmatch(token) and int(token) <= now_ms):
            violations.add("continue_token", "not the continue_token of an answer before")
        violations.raise_if_any()
        if scope == "session_handle":
            ended = self._manager.end_session(request.session_handle, origin=origin)
            return EndSessionsResponse(sessions_ended=ended)
        if scope == "account":
            account = self._store.read(lambda tx: self._account(tx, request))
            ended = self._manager.end_sessions_of_account(account, origin=origin)
            return EndSessionsResponse(sessions_ended=ended)
        # Else an AppId that is mistyped would look like one whose sessions have ended.
        if not token and self._apps.get(request.app_id) is None:
            self._store.read(lambda tx: self._require_session(tx, request.app_id))
        begun_by_ms = int(token) if token else now_ms
        some = self._manager.end_some_of_app(request.app_id, begun_by_ms=begun_by_ms, origin=origin)
        return EndSessionsResponse(
            sessions_ended=some.sessions_ended, more=some.more, continue_token=str(begun_by_ms)
        )

    def _require_session(self, tx: Transaction, app_id: str) -> None:
        page = list_session_entries(
            tx,
            account=None,
            app_id=app_id,
            live_in=None,
            now_ms=self._clock.now_ms(),
            after=SessionPosition(*NEWEST),
            limit=1,
        )
        if not page.entries:
            raise RequestInvalid(("app_id", _NOT_SERVED))

    def _account(self, tx: Transaction, request: EndSessionsRequest) -> tuple[str, str]:
        source, account_id = find_key(tx, request.account)
        entry = find_account_entry(tx, source, account_id)
        if entry is None or entry.deleted_at is not None:
            raise NotFound("account")
        return entry.record.key

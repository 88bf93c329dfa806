"""AdminService: bindings are listed and ended."""

from __future__ import annotations

from wxauth.v1.admin_service_pb2 import (
    EndBindingRequest,
    EndBindingResponse,
    ListBindingsRequest,
    ListBindingsResponse,
)
from wxauth_server.auth.manage_sessions import SessionManager
from wxauth_server.rpc.admin.fields import (
    DEFAULT_PAGE_SIZE,
    MAX_APP_ID_BYTES,
    MAX_OPENID_BYTES,
    AdminViolations,
    find_filter,
    page_token,
    read_page_token,
)
from wxauth_server.rpc.admin.messages import binding
from wxauth_server.store.admin_bindings import list_bindings_after
from wxauth_server.store.audit import HERE, Origin
from wxauth_server.store.bindings import BindingRecord
from wxauth_server.store.interface import Store, Transaction


class BindingCalls:
    """Answers from the store. Blocking; thread-safe."""

    def __init__(self, store: Store, manager: SessionManager) -> None:
        self._store = store
        self._manager = manager

    def list(self, request: ListBindingsRequest, origin: Origin = HERE) -> ListBindingsResponse:
        del origin
        violations = AdminViolations()
        violations.account(request.account, required=False)
        violations.text("app_id", request.app_id, MAX_APP_ID_BYTES)
        if violations.text("openid", request.openid, MAX_OPENID_BYTES) and not request.app_id:
            violations.add("openid", "needs app_id")
        violations.page(request.page_size, request.page_token)
        violations.raise_if_any()
        app_id, openid = read_page_token(request.page_token, "", "")
        size = request.page_size or DEFAULT_PAGE_SIZE

        def work(tx: Transaction) -> list[BindingRecord]:
            return list_bindings_after(
                tx,
                account=find_filter(tx, request.account),
                app_id=request.app_id,
                openid=request.openid,
                after=(app_id, openid),
                limit=size + 1,
            )

        found = self._store.read(work)
        last = found[size - 1] if len(found) > size else None
        return ListBindingsResponse(
            bindings=map(binding, found[:size]),
            next_page_token=page_token(last.app_id, last.openid) if last else "",
        )

    def end(self, request: EndBindingRequest, origin: Origin = HERE) -> EndBindingResponse:
        violations = AdminViolations()
        violations.text("app_id", request.app_id, MAX_APP_ID_BYTES, required=True)
        violations.text("openid", request.openid, MAX_OPENID_BYTES, required=True)
        violations.raise_if_any()
        ended = self._manager.end_binding(request.app_id, request.openid, origin=origin)
        return EndBindingResponse(
            binding=binding(ended.binding), sessions_ended=ended.sessions_ended
        )

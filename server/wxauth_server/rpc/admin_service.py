"""AdminService on the event loop: each call runs in the pool that is for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from wxauth.v1.admin_service_pb2 import (
    AdminServiceListSessionsRequest,
    AdminServiceListSessionsResponse,
    CreateAccountRequest,
    CreateAccountResponse,
    DisableAccountRequest,
    DisableAccountResponse,
    EnableAccountRequest,
    EnableAccountResponse,
    EndBindingRequest,
    EndBindingResponse,
    EndSessionsRequest,
    EndSessionsResponse,
    GetAccountRequest,
    GetAccountResponse,
    ImportAccountsRequest,
    ImportAccountsResponse,
    ListAccountsRequest,
    ListAccountsResponse,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
    ListBindingsRequest,
    ListBindingsResponse,
    SetPasswordRequest,
    SetPasswordResponse,
    SetPhoneRequest,
    SetPhoneResponse,
    SetUsernameRequest,
    SetUsernameResponse,
    UnlockAccountRequest,
    UnlockAccountResponse,
)
from wxauth.v1.admin_service_pb2_grpc import AdminServiceServicer
from wxauth_server.errors import CallerUnauthenticated
from wxauth_server.pools import BoundedPool
from wxauth_server.rpc.admin_calls import AdminCalls
from wxauth_server.rpc.callers import Callers
from wxauth_server.rpc.guard import Context
from wxauth_server.rpc.peers import peer_address
from wxauth_server.store.audit import Origin

RequestT = TypeVar("RequestT")
ResponseT = TypeVar("ResponseT")


class AdminServicer(AdminServiceServicer):
    """Raises the domain's errors: served through a `GuardedServer` only."""

    def __init__(self, calls: AdminCalls, pool: BoundedPool, callers: Callers) -> None:
        self._calls = calls
        self._pool = pool
        self._callers = callers

    async def CreateAccount(
        self, request: CreateAccountRequest, context: Context
    ) -> CreateAccountResponse:
        return await self._run(self._calls.CreateAccount, request, context)

    async def ImportAccounts(
        self, request: ImportAccountsRequest, context: Context
    ) -> ImportAccountsResponse:
        return await self._run(self._calls.ImportAccounts, request, context)

    async def GetAccount(self, request: GetAccountRequest, context: Context) -> GetAccountResponse:
        return await self._run(self._calls.GetAccount, request, context)

    async def ListAccounts(
        self, request: ListAccountsRequest, context: Context
    ) -> ListAccountsResponse:
        return await self._run(self._calls.ListAccounts, request, context)

    async def SetPassword(
        self, request: SetPasswordRequest, context: Context
    ) -> SetPasswordResponse:
        return await self._run(self._calls.SetPassword, request, context)

    async def SetPhone(self, request: SetPhoneRequest, context: Context) -> SetPhoneResponse:
        return await self._run(self._calls.SetPhone, request, context)

    async def SetUsername(
        self, request: SetUsernameRequest, context: Context
    ) -> SetUsernameResponse:
        return await self._run(self._calls.SetUsername, request, context)

    async def DisableAccount(
        self, request: DisableAccountRequest, context: Context
    ) -> DisableAccountResponse:
        return await self._run(self._calls.DisableAccount, request, context)

    async def EnableAccount(
        self, request: EnableAccountRequest, context: Context
    ) -> EnableAccountResponse:
        return await self._run(self._calls.EnableAccount, request, context)

    async def UnlockAccount(
        self, request: UnlockAccountRequest, context: Context
    ) -> UnlockAccountResponse:
        return await self._run(self._calls.UnlockAccount, request, context)

    async def ListBindings(
        self, request: ListBindingsRequest, context: Context
    ) -> ListBindingsResponse:
        return await self._run(self._calls.ListBindings, request, context)

    async def EndBinding(self, request: EndBindingRequest, context: Context) -> EndBindingResponse:
        return await self._run(self._calls.EndBinding, request, context)

    async def ListSessions(
        self, request: AdminServiceListSessionsRequest, context: Context
    ) -> AdminServiceListSessionsResponse:
        return await self._run(self._calls.ListSessions, request, context)

    async def EndSessions(
        self, request: EndSessionsRequest, context: Context
    ) -> EndSessionsResponse:
        return await self._run(self._calls.EndSessions, request, context)

    async def ListAuditEvents(
        self, request: ListAuditEventsRequest, context: Context
    ) -> ListAuditEventsResponse:
        return await self._pool.run(self._calls.ListAuditEvents, request)

    async def _run(
        self, method: Callable[[RequestT, Origin], ResponseT], request: RequestT, context: Context
    ) -> ResponseT:
        caller = self._callers.who(context)
        if caller is None:  # it may have ended since it was checked
            raise CallerUnauthenticated
        origin = Origin(peer_address(context.peer()), caller.name)
        return await self._pool.run(method, request, origin)

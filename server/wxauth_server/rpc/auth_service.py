"""AuthService as the contract has it: messages in, the domain, messages out."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from wxauth.v1.auth_service_pb2 import (
    Account,
    BatchValidateSessionsRequest,
    DeleteAccountRequest,
    DeleteAccountResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    OwnSession,
    RevokeSessionRequest,
    RevokeSessionResponse,
    UnbindRequest,
    UnbindResponse,
    ValidateSessionRequest,
)
from wxauth.v1.auth_service_pb2_grpc import AuthServiceServicer
from wxauth_server.auth.attempt import ClientInfo, Credentials, LoginAsked
from wxauth_server.auth.delete_account import DeleteAccountFlow
from wxauth_server.auth.login import LoginFlow
from wxauth_server.auth.logout import LogoutFlow
from wxauth_server.auth.own_sessions import OwnSessions
from wxauth_server.auth.prove_owner import Proof
from wxauth_server.auth.unbind import UnbindFlow
from wxauth_server.auth.validate_sessions import Validations
from wxauth_server.rpc.guard import Context, deadline_of
from wxauth_server.rpc.live_sessions import serialize_batch
from wxauth_server.rpc.requests import (
    check_batch_validate,
    check_list_sessions,
    check_login,
    check_logout,
    check_proof,
    check_revoke_session,
    check_validate,
)
from wxauth_server.store.sessions import SessionRecord


class AuthServicer(AuthServiceServicer):
    """Raises the domain's errors: served through a `GuardedServer` only."""

    def __init__(
        self,
        *,
        login: LoginFlow,
        validations: Validations,
        unbind: UnbindFlow,
        logout: LogoutFlow,
        own_sessions: OwnSessions,
        delete_account: DeleteAccountFlow,
    ) -> None:
        self._login = login
        self._validations = validations
        self._unbind = unbind
        self._logout = logout
        self._own_sessions = own_sessions
        self._delete_account = delete_account

    async def Login(self, request: LoginRequest, context: Context) -> LoginResponse:
        check_login(request)
        credentials = None
        if request.username:
            credentials = Credentials(request.username, request.password)
        asked = LoginAsked(
            app_id=request.app_id,
            code=request.code,
            credentials=credentials,
            phone_code=request.phone_code,
            rebind=request.rebind,
            request_id=request.request_id,
        )
        client = ClientInfo(
            request.client.address,
            _printable(request.client.user_agent),
            _printable(request.client.device),
        )
        result = await self._login.log_in(asked, client, deadline_of(context))
        return LoginResponse(
            session_id=result.session_id,
            idle_expire_time=_timestamp(result.idle_end_ms),
            absolute_expire_time=_timestamp(result.absolute_end_ms),
            account=_account(result.session),
            bound_now=result.bound_now,
        )

    # Serialized already, which is what the guard makes of messages: an answer from memory
    # is built once.
    async def ValidateSession(  # type: ignore[override]
        self, request: ValidateSessionRequest, context: Context
    ) -> bytes:
        check_validate(request)
        return await self._validations.answer(request.session_id, request.app_id)

    async def BatchValidateSessions(  # type: ignore[override]
        self, request: BatchValidateSessionsRequest, context: Context
    ) -> bytes:
        check_batch_validate(request)
        return serialize_batch(await self._validations.answers(request.session_ids, request.app_id))

    async def Unbind(self, request: UnbindRequest, context: Context) -> UnbindResponse:
        check_proof(request)
        proof = Proof(code=request.code, password=request.password)
        result = await self._unbind.unbind(request.session_id, proof, deadline_of(context))
        return UnbindResponse(
            app_id=result.session.app_id,
            openid=result.session.openid,
            account=_account(result.session),
            sessions_ended=result.sessions_ended,
        )

    async def Logout(self, request: LogoutRequest, context: Context) -> LogoutResponse:
        check_logout(request)
        await self._logout.log_out(request.session_id)
        return LogoutResponse()

    async def ListSessions(
        self, request: ListSessionsRequest, context: Context
    ) -> ListSessionsResponse:
        check_list_sessions(request)
        found = await self._own_sessions.list_live(request.session_id)
        return ListSessionsResponse(
            sessions=[
                OwnSession(
                    session_handle=own.handle,
                    current=own.current,
                    device=own.device,
                    user_agent=own.user_agent,
                    network=own.network,
                    login_time=_timestamp(own.login_ms),
                    last_seen_time=_timestamp(own.last_seen_ms),
                    idle_expire_time=_timestamp(own.idle_end_ms),
                    absolute_expire_time=_timestamp(own.absolute_end_ms),
                )
                for own in found
            ]
        )

    async def RevokeSession(
        self, request: RevokeSessionRequest, context: Context
    ) -> RevokeSessionResponse:
        check_revoke_session(request)
        await self._own_sessions.revoke(request.session_id, request.session_handle)
        return RevokeSessionResponse()

    async def DeleteAccount(
        self, request: DeleteAccountRequest, context: Context
    ) -> DeleteAccountResponse:
        check_proof(request)
        proof = Proof(code=request.code, password=request.password)
        result = await self._delete_account.delete(request.session_id, proof, deadline_of(context))
        source, account_id = result.account
        return DeleteAccountResponse(
            account=Account(source=source, id=account_id),
            bindings_ended=result.bindings_ended,
            sessions_ended=result.sessions_ended,
        )


def _printable(text: str) -> str:
    # It is shown to people: nothing in it moves the cursor or turns the writing.
    return "".join(filter(str.isprintable, text))


def _timestamp(milliseconds: int) -> Timestamp:
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)


def _account(session: SessionRecord) -> Account:
    return Account(
        source=session.account_source,
        id=session.account_id,
        username=session.username or "",
        display_name=session.display_name or "",
    )

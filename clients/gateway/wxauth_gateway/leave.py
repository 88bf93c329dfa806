"""POST /logout, /unbind and /account/delete: ending a session, a binding, or the account."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Security
from starlette.responses import Response

from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.bearer import SessionBearer
from wxauth_gateway.messages.accounts import DeleteAccountAnswer, ProofBody, UnbindAnswer
from wxauth_gateway.messages.mapping import EmptyAnswer, EmptyBody

SessionId = Annotated[str, Security(SessionBearer())]

_ERRORS = error_responses(401, 408, 413, 415, 429, 503, 504)


def add_routes(api: FastAPI, client: ClientSource) -> None:
    # A default rather than None: OpenAPI 3.0 has no type for null.
    async def logout(session_id: SessionId, body: EmptyBody = EmptyBody()) -> Response:  # noqa: B008
        """End this session. A repetition is success."""
        await client().logout(session_id)
        return answer(EmptyAnswer())

    async def unbind(session_id: SessionId, body: ProofBody) -> Response:
        """End the binding of this session's WeChat user and all its sessions."""
        unbound = await client().unbind(session_id, code=body.code, password=body.password)
        return answer(UnbindAnswer.of(unbound))

    async def delete_account(session_id: SessionId, body: ProofBody) -> Response:
        """Delete the user's account, its bindings and its sessions in all mini-programs.

        Cannot be taken back. A repetition is success.
        """
        deleted = await client().delete_account(session_id, code=body.code, password=body.password)
        return answer(DeleteAccountAnswer.of(deleted))

    api.add_api_route(
        "/logout",
        logout,
        methods=["POST"],
        summary="Log out",
        response_model=EmptyAnswer,
        responses=_ERRORS,
    )
    api.add_api_route(
        "/unbind",
        unbind,
        methods=["POST"],
        summary="Unbind",
        response_model=UnbindAnswer,
        responses=_ERRORS | error_responses(403),
    )
    api.add_api_route(
        "/account/delete",
        delete_account,
        methods=["POST"],
        summary="Delete the account",
        response_model=DeleteAccountAnswer,
        responses=_ERRORS | error_responses(403),
    )

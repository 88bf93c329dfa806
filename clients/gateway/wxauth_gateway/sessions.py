"""GET /sessions and POST /sessions/{handle}/revoke: the user's own devices."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import FastAPI, Path, Security
from starlette.responses import Response

from wxauth_gateway import errors
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.bearer import SessionBearer
from wxauth_gateway.messages.mapping import EmptyAnswer, EmptyBody
from wxauth_gateway.messages.sessions import SessionsAnswer

# 16 bytes in base64url, as the server makes them.
_HANDLE_PATTERN = "[A-Za-z0-9_-]{22}"
_HANDLE = re.compile(_HANDLE_PATTERN)

SessionId = Annotated[str, Security(SessionBearer())]
Handle = Annotated[
    str,
    Path(
        description="The `sessionHandle` of one of GET /sessions.",
        json_schema_extra={"pattern": f"^{_HANDLE_PATTERN}$"},
    ),
]

_ERRORS = error_responses(401, 429, 503, 504)


def add_routes(api: FastAPI, client: ClientSource) -> None:
    async def sessions(session_id: SessionId) -> Response:
        """The live sessions of the user in this mini-program, newest login first."""
        return answer(SessionsAnswer.of(await client().list_sessions(session_id)))

    # A default rather than None: OpenAPI 3.0 has no type for null.
    async def revoke(
        session_id: SessionId,
        handle: Handle,
        body: EmptyBody = EmptyBody(),  # noqa: B008
    ) -> Response:
        """End one of these sessions, this one too. One that has ended already is success."""
        if _HANDLE.fullmatch(handle) is None:
            problem = "must be the sessionHandle of one of GET /sessions: 22 characters"
            return errors.bad_request(("sessionHandle", problem)).response()
        await client().revoke_session(session_id, handle)
        return answer(EmptyAnswer())

    api.add_api_route(
        "/sessions",
        sessions,
        summary="The user's sessions",
        response_model=SessionsAnswer,
        responses=_ERRORS,
    )
    api.add_api_route(
        "/sessions/{handle}/revoke",
        revoke,
        methods=["POST"],
        summary="End a session",
        response_model=EmptyAnswer,
        responses=_ERRORS | error_responses(408, 413, 415),
    )

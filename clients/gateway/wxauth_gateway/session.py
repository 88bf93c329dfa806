"""GET /session: who am I? Step 7, also for proxies that ask before they forward.

Plain ASGI, since every request of an internal service may pass here: no
framework stands in its way. FastAPI only documents it.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Query, Security
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wxauth_client import WxauthError
from wxauth_gateway import errors
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.bearer import SessionBearer, session_id
from wxauth_gateway.identity_headers import ERROR_HEADER, IDENTITY_HEADERS, identity_headers
from wxauth_gateway.messages.sessions import SessionAnswer

PATH = "/session"


class SessionEndpoint:
    """The ASGI application at /session."""

    def __init__(self, client: ClientSource) -> None:
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = ROUTE
        try:
            response = await self._answer(scope)
        except WxauthError as error:
            response = errors.of_client(error).response(body_in_header=ERROR_HEADER)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] != "GET":
            return errors.method_not_allowed(["GET"]).response()
        app_id = ""
        if scope["query_string"]:
            try:
                app_id = _app_id(scope["query_string"])
            except ValueError:
                return errors.bad_request(("", "takes only the parameter appId")).response()
        session = await self._client().validate(session_id(scope["headers"]), app_id=app_id)
        return answer(SessionAnswer.of(session), identity_headers(session))


def _app_id(query: bytes) -> str:
    """Raises ValueError if there is anything but one appId."""
    ((name, value),) = parse_qsl(
        query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
    )
    if name != "appId" or "\0" in value:
        raise ValueError("not appId")
    return value


_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"headers": {name: {"schema": {"type": "string"}} for name in IDENTITY_HEADERS}}
}


async def _documented(
    _session_id: Annotated[str, Security(SessionBearer())],
    app_id: Annotated[
        str, Query(alias="appId", description="Refuse a session of another mini-program.")
    ] = "",
) -> None:
    """Whose live session this is; a dead one is an error.

    The `X-Wxauth-` headers of the answer say the same for proxies (nginx
    `auth_request`, Traefik ForwardAuth, Caddy `forward_auth`, Envoy ext_authz).
    Their values are percent-encoded UTF-8 where they are not visible ASCII.
    """


# Only for /openapi.json: requests never come to it.
ROUTE = APIRoute(
    PATH,
    _documented,
    methods=["GET"],
    summary="Who am I?",
    name="session",
    response_model=SessionAnswer,
    responses=_RESPONSES | error_responses(401, 429, 503, 504),
)

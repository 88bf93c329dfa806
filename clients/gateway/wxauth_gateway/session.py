"""GET /session: who am I? Step 7, also for proxies that ask before they forward.

Plain ASGI, since every request of an internal service may pass here: no
framework stands in its way. FastAPI only documents it.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl, quote

from fastapi import Query, Security
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from wxauth_client import Session, WxauthError
from wxauth_gateway import errors
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.bearer import SessionBearer, session_id
from wxauth_gateway.messages.sessions import SessionAnswer

PATH = "/session"

# Visible ASCII but "%": what stays as it is in a header's value. The rest is
# percent-encoded UTF-8, so that no name can break out of its header.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")


class SessionEndpoint:
    """The ASGI application at /session."""

    def __init__(self, client: ClientSource) -> None:
        self._client = client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = ROUTE
        try:
            response = await self._answer(scope)
        except WxauthError as error:
            response = errors.of_client(error).response()
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


def identity_headers(session: Session) -> dict[str, str]:
    """Who it is, for the service behind a proxy that copies these headers.

    All of them, always, empty if unknown: a header left out would let one of
    the same name through that the client itself had sent.
    """
    values = {
        "X-Wxauth-Account-Source": session.account.source,
        "X-Wxauth-Account-Id": session.account.id,
        "X-Wxauth-Username": session.account.username,
        "X-Wxauth-App-Id": session.app_id,
        "X-Wxauth-Openid": session.openid,
        "X-Wxauth-Unionid": session.unionid,
        "X-Wxauth-Session-Handle": session.handle,
    }
    return {name: quote(value, safe=_SAFE) for name, value in values.items()}


def _app_id(query: bytes) -> str:
    """Raises ValueError if there is anything but one appId."""
    ((name, value),) = parse_qsl(
        query.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
    )
    if name != "appId" or "\0" in value:
        raise ValueError("not appId")
    return value


_HEADER = {"schema": {"type": "string"}}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "X-Wxauth-Account-Source": _HEADER,
            "X-Wxauth-Account-Id": _HEADER,
            "X-Wxauth-Username": _HEADER,
            "X-Wxauth-App-Id": _HEADER,
            "X-Wxauth-Openid": _HEADER,
            "X-Wxauth-Unionid": _HEADER,
            "X-Wxauth-Session-Handle": _HEADER,
        }
    }
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

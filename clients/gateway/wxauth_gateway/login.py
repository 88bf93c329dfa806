"""POST /login, and GET /login where it is allowed: step 2 of a mini-program login."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import FastAPI, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from wxauth_client import ClientInfo
from wxauth_gateway import errors
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.client_address import ClientAddress
from wxauth_gateway.messages.login import LoginAnswer, LoginBody, LoginQuery
from wxauth_gateway.violations import violations_of

# WeChat sets the Referer and a mini-program cannot: wechat-api.md section 5. Yet
# anything else can send it, so it selects the app and proves nothing. No comma:
# by one, proxies join what came as two headers.
_REFERER = re.compile(r"https://servicewechat\.com/(wx[0-9a-f]{16})/[^\s,]*")
_MAX_USER_AGENT_BYTES = 512

_ERRORS = error_responses(401, 403, 409, 429, 503, 504)


def add_routes(
    api: FastAPI, client: ClientSource, address: ClientAddress, *, allow_get: bool
) -> None:
    async def log_in(request: Request, body: LoginQuery, *, rebind: bool = False) -> Response:
        begun = await client().login(
            body.code,
            app_id=body.app_id or _app_of_referer(request),
            username=body.username,
            password=body.password,
            phone_code=body.phone_code,
            rebind=rebind,
            request_id=body.request_id,
            client=ClientInfo(address.of(request.scope), _user_agent(request), body.device),
        )
        return answer(LoginAnswer.of(begun))

    async def login(request: Request, body: LoginBody) -> Response:
        """Begin a session.

        The same body with a `requestId` may be sent again within 60 seconds if
        there was no answer, or OVERLOADED or THROTTLED, or one with status 503 or
        504: one session comes of it. Any other answer is final for the code.
        """
        return await log_in(request, body, rebind=body.rebind)

    api.add_api_route(
        "/login",
        login,
        methods=["POST"],
        summary="Log in",
        response_model=LoginAnswer,
        responses=_ERRORS | error_responses(408, 413, 415),
    )
    if not allow_get:
        return

    async def login_by_get(
        request: Request,
        code: Annotated[str, Query()],
        username: Annotated[str, Query()] = "",
        password: Annotated[str, Query()] = "",
        phone_code: Annotated[str, Query(alias="phoneCode")] = "",
        request_id: Annotated[str, Query(alias="requestId")] = "",
        app_id: Annotated[str, Query(alias="appId")] = "",
        device: Annotated[str, Query()] = "",
    ) -> Response:
        """The textbook's login. For demonstrations only: its URL holds the password.

        It moves no binding: `rebind` is for POST.
        """
        # The parameters above are for the documentation; these are read strictly.
        del code, username, password, phone_code, request_id, app_id, device
        try:
            query = read_query(request.scope["query_string"])
        except QueryInvalid as invalid:
            return errors.bad_request(*invalid.violations).response()
        return await log_in(request, query)

    api.add_api_route(
        "/login",
        login_by_get,
        methods=["GET"],
        summary="Log in, with everything in the URL",
        response_model=LoginAnswer,
        responses=_ERRORS,
    )


class QueryInvalid(Exception):
    """`violations` are (parameter, what is wrong), in the names of HTTP."""

    def __init__(self, *violations: tuple[str, str]) -> None:
        super().__init__("not the query string of a login")
        self.violations = violations


def read_query(query: bytes) -> LoginQuery:
    """The login in a query string: each parameter once, known, and in UTF-8.

    Raises QueryInvalid.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=len(LoginQuery.model_fields),
        )
    except ValueError:  # its message would quote the query
        raise QueryInvalid(("", "not a query string of known parameters in UTF-8")) from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise QueryInvalid(("", "a parameter stands twice"))
    if any("\0" in value for value in fields.values()):
        raise QueryInvalid(("", "a text contains NUL"))
    try:
        return LoginQuery.model_validate(fields)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False, include_context=False)
        raise QueryInvalid(*violations_of(problems)) from None


def _app_of_referer(request: Request) -> str:
    referers = request.headers.getlist("referer")
    match = _REFERER.fullmatch(referers[0]) if len(referers) == 1 else None
    return match[1] if match else ""


def _user_agent(request: Request) -> str:
    raw = next((value for name, value in request.scope["headers"] if name == b"user-agent"), b"")
    return str(raw[:_MAX_USER_AGENT_BYTES].decode("utf-8", "ignore"))

"""The gateway, put together: (ext_authz ->) edge -> /session or FastAPI -> wxauth_client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from wxauth_client import AsyncAuthClient, WxauthError
from wxauth_gateway import docs, errors, leave, login, probes, session, sessions, wechat
from wxauth_gateway.client_address import ClientAddress
from wxauth_gateway.cross_origin import CrossOrigin
from wxauth_gateway.edge import Edge
from wxauth_gateway.ext_authz import ExtAuthz
from wxauth_gateway.settings import GatewaySettings
from wxauth_gateway.violations import violations_of


def create_app(settings: GatewaySettings, client: AsyncAuthClient | None = None) -> ASGIApp:
    """The ASGI application.

    Without `client` it makes its own when it starts, on the loop that then runs,
    and closes it when it stops. A client that is given stays the giver's.
    """
    connected = client

    def current() -> AsyncAuthClient:
        if connected is None:
            raise RuntimeError("the application has not been started: its lifespan is missing")
        return connected

    @asynccontextmanager
    async def lifespan(_api: FastAPI) -> AsyncIterator[None]:
        nonlocal connected
        if client is not None:
            yield
            return
        async with AsyncAuthClient(settings.server, credentials=settings.credentials) as connected:
            yield
        connected = None

    api = FastAPI(
        openapi_url=None,  # docs.py has these
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers={
            WxauthError: _client_error,
            RequestValidationError: _request_error,
            HTTPException: _routing_error,
            Exception: _to_the_edge,
        },
    )
    address = ClientAddress(settings.trusted_hops)
    login.add_routes(api, current, address, allow_get=settings.allow_get_login)
    sessions.add_routes(api, current)
    leave.add_routes(api, current)
    wechat.add_routes(api, current)
    probes.add_routes(api, current)
    docs.add_routes(api)
    who_am_i = session.SessionEndpoint(current)

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == session.PATH:
            await who_am_i(scope, receive, send)
        else:
            await api(scope, receive, send)

    edge = Edge(route, wechat.BODY_LIMITS, CrossOrigin(settings.cors_origins))
    return ExtAuthz(edge)


async def _client_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, WxauthError)  # noqa: S101 - registered for it
    return errors.of_client(error).response()


async def _request_error(_request: Request, error: Exception) -> Response:
    """A body that is not the documented one. Quotes field names, never values."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    return errors.bad_request(*violations_of(error.errors(), below=1)).response()


async def _routing_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    match error.status_code:
        case 404:
            return errors.not_found().response()
        case 405:
            api: FastAPI = request.app
            return errors.method_not_allowed(
                method
                for route in api.routes
                if route.matches(request.scope)[0] is not Match.NONE
                for method in getattr(route, "methods", None) or ()
            ).response()
    return errors.of_fault(error).response()


async def _to_the_edge(_request: Request, error: Exception) -> NoReturn:
    """Starlette answers and then raises again; only raising leaves the answer to Edge."""
    raise error

"""GET /healthz and GET /readyz, for whatever starts, watches and routes to the gateway."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.responses import Response

from wxauth_client import RequestInvalid, ServerUnreachable, SessionInvalid
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.messages.mapping import EmptyAnswer


def add_routes(api: FastAPI, client: ClientSource) -> None:
    async def healthz() -> Response:
        """The gateway runs. Restart it if this does not answer."""
        return answer(EmptyAnswer())

    async def readyz() -> Response:
        """The gateway reaches a server that serves and lets it in. 503: send no requests here."""
        if not await client().ready():
            raise ServerUnreachable("not ready")
        try:
            # Refused before it is looked up: what is asked is whether a gateway asks.
            await client().list_sessions("")
        except (SessionInvalid, RequestInvalid):
            pass
        return answer(EmptyAnswer())

    api.add_api_route(
        "/healthz",
        healthz,
        summary="Alive?",
        response_model=EmptyAnswer,
        responses=error_responses(),
    )
    api.add_api_route(
        "/readyz",
        readyz,
        summary="Ready?",
        response_model=EmptyAnswer,
        responses=error_responses(503),
    )

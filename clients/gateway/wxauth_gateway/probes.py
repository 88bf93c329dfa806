"""GET /healthz and GET /readyz, for whatever starts, watches and routes to the gateway."""

from __future__ import annotations

import asyncio
import time

from fastapi import FastAPI
from starlette.responses import Response

from wxauth_client import RequestInvalid, ServerUnreachable, SessionInvalid, WxauthError
from wxauth_gateway import errors
from wxauth_gateway.answers import ClientSource, answer, error_responses
from wxauth_gateway.errors import HttpError
from wxauth_gateway.messages.mapping import EmptyAnswer

#: An answer about the server is good for so long: anybody may ask, as often as they like.
READY_FOR_S = 1.0


def add_routes(api: FastAPI, client: ClientSource) -> None:
    readiness = _Readiness(client)

    async def healthz() -> Response:
        """The gateway runs. Restart it if this does not answer."""
        return answer(EmptyAnswer())

    async def readyz() -> Response:
        """The gateway reaches a server that serves and lets it in. 503: send no requests here."""
        obstacle = await readiness.obstacle()
        return answer(EmptyAnswer()) if obstacle is None else obstacle.response()

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


class _Readiness:
    """Asks the server, once for all who want to know at the time and shortly after."""

    def __init__(self, client: ClientSource) -> None:
        self._client = client
        self._question: asyncio.Task[HttpError | None] | None = None
        self._good_until = 0.0

    async def obstacle(self) -> HttpError | None:
        """What keeps the gateway from serving, if anything does."""
        question = self._question
        if question is None or (question.done() and time.monotonic() >= self._good_until):
            question = self._question = asyncio.create_task(self._ask())
        # Who leaves does not end it for the others.
        return await asyncio.shield(question)

    async def _ask(self) -> HttpError | None:
        try:
            if not await self._client().ready():
                raise ServerUnreachable("not ready")
            # Refused before it is looked up: what is asked is whether a gateway asks.
            await self._client().list_sessions("")
        except (SessionInvalid, RequestInvalid):
            return None
        except WxauthError as error:
            return errors.of_client(error)
        finally:
            self._good_until = time.monotonic() + READY_FOR_S
        return None

"""grpc.health.v1: open to whoever reaches the port, and so with limits of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from wxauth_server.auth.login_limits import LoginGate, LoginLimits, TooManyOfAll
from wxauth_server.errors import Overloaded, RequestInvalid
from wxauth_server.rpc.guard import Context

#: Checks and new watches of all connections in a second; as many may come at once.
#: A thousand clients that come back after a restart are all told within five.
CALLS_PER_S = 200
#: Watches at a time, a quarter of MAX_CONCURRENT_RPCS.
MOST_WATCHES = 1_000
# Those of ours have 20 characters. A watch keeps its service's name, known or not.
_MAX_NAME_CHARACTERS = 256


class LimitedHealth(HealthServicer):
    """Raises the domain's errors: served through a `GuardedServer` only."""

    def __init__(
        self, services: Sequence[str], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._services = services
        # Its steady rate of all; there are no addresses here.
        self._gate = LoginGate(LoginLimits(of_all_per_s=CALLS_PER_S), monotonic_s)
        self._watches = 0

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        self._pass(request)
        return await super().Check(request, context)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> None:
        self._pass(request)
        if self._watches >= MOST_WATCHES:
            raise Overloaded
        self._watches += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watches -= 1

    async def List(self, request: object, context: Context) -> object:  # noqa: N802
        """For known callers: it names the services."""
        messages: Any = health_pb2  # whose type stubs know no List
        answer = messages.HealthListResponse()
        for service in ("", *self._services):
            asked = health_pb2.HealthCheckRequest(service=service)
            answer.statuses[service].CopyFrom(await super().Check(asked, context))
        return answer

    async def set_serving(self, *, serving: bool) -> None:
        """Tell whoever asks or watches, of every service."""
        states = health_pb2.HealthCheckResponse
        for service in ("", *self._services):
            await self.set(service, states.SERVING if serving else states.NOT_SERVING)

    def _pass(self, request: health_pb2.HealthCheckRequest) -> None:
        try:
            self._gate.pass_one("")
        except TooManyOfAll:
            raise Overloaded from None
        if len(request.service) > _MAX_NAME_CHARACTERS:
            raise RequestInvalid(("service", f"longer than {_MAX_NAME_CHARACTERS} characters"))

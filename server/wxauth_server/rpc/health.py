"""grpc.health.v1: open to whoever reaches the port, and so with limits of its own.

By connection, of which there are so many at most: a limit of all together would be
used up by one, and clients that are not told of the server's health do not use it.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from wxauth_server.errors import Overloaded, RequestInvalid
from wxauth_server.rate import SteadyRate
from wxauth_server.rpc.guard import Context

#: Checks and new watches of a connection in a second; as many may come at once.
CALLS_PER_S = 20
#: Watches of a connection at a time. A client of gRPC has one.
WATCHES_OF_CONNECTION = 4
#: Watches of all at a time: one for each connection that may be there.
MOST_WATCHES = 4_000
# Connections whose rate is remembered, about 300 bytes each.
_MOST_CONNECTIONS = 4_000
# Those of ours have 20 characters. A watch keeps its service's name, known or not.
_MAX_NAME_CHARACTERS = 256


class LimitedHealth(HealthServicer):
    """Raises the domain's errors: served through a `GuardedServer` only."""

    def __init__(
        self, services: Sequence[str], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._services = services
        self._monotonic_s = monotonic_s
        # By what gRPC calls a peer, an address with its port. The last that came is last.
        self._rates: OrderedDict[str, SteadyRate] = OrderedDict()
        self._watches: Counter[str] = Counter()

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        self._pass(request, context.peer())
        return await super().Check(request, context)

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> None:
        connection = context.peer()
        self._pass(request, connection)
        if self._watches[connection] >= WATCHES_OF_CONNECTION:
            raise Overloaded
        if self._watches.total() >= MOST_WATCHES:
            raise Overloaded
        self._watches[connection] += 1
        try:
            await super().Watch(request, context)
        finally:
            self._watches[connection] -= 1
            if not self._watches[connection]:
                del self._watches[connection]

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

    def _pass(self, request: health_pb2.HealthCheckRequest, connection: str) -> None:
        now_s = self._monotonic_s()
        rate = self._rates.setdefault(connection, SteadyRate(CALLS_PER_S, 1))
        self._rates.move_to_end(connection)
        if len(self._rates) > _MOST_CONNECTIONS:
            self._rates.popitem(last=False)
        if rate.wait_s(now_s):
            raise Overloaded
        rate.count(now_s)
        if len(request.service) > _MAX_NAME_CHARACTERS:
            raise RequestInvalid(("service", f"longer than {_MAX_NAME_CHARACTERS} characters"))

"""The health service of the scripted servers, which a test can have say that it leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

from grpc_health.v1 import (
    health_pb2,
    health_pb2_grpc,
)


class Health(health_pb2_grpc.HealthServicer):
    """Says whether AuthService serves, to whoever asks or watches.

    Not the library's: its thread version deadlocks in `set` when a watcher
    leaves at that moment (grpcio-health-checking 1.85.1).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._serving = True

    def serve(self, serving: bool) -> None:
        with self._changed:
            self._serving = serving
            self._changed.notify_all()

    def Check(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's naming
        return self._state(self._serving)

    def Watch(self, _request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        context.add_callback(self._wake)
        told: bool | None = None
        while context.is_active():
            with self._changed:
                if self._serving == told and context.is_active():
                    self._changed.wait()
                changed, told = self._serving != told, self._serving
            if changed:
                yield self._state(told)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @staticmethod
    def _state(serving: bool) -> Any:
        states = health_pb2.HealthCheckResponse
        return states(status=states.SERVING if serving else states.NOT_SERVING)

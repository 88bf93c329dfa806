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
        self._watchers = 0

    def serve(self, serving: bool) -> None:
        with self._changed:
            self._serving = serving
            self._changed.notify_all()

    def wait_for_watchers(self, count: int) -> None:
        """Until so many watch: each channel of a client does, as long as it is open."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._watchers == count, 10)

    def Check(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - gRPC's naming
        return self._state(self._serving)

    def Watch(self, _request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        context.add_callback(self._wake)
        self._count_watcher(1)
        try:
            yield from self._states(context)
        finally:
            self._count_watcher(-1)

    def _states(self, context: Any) -> Iterator[Any]:
        told: bool | None = None
        while context.is_active():
            with self._changed:
                if self._serving == told and context.is_active():
                    self._changed.wait()
                changed, told = self._serving != told, self._serving
            if changed:
                yield self._state(told)

    def _count_watcher(self, change: int) -> None:
        with self._changed:
            self._watchers += change
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @staticmethod
    def _state(serving: bool) -> Any:
        states = health_pb2.HealthCheckResponse
        return states(status=states.SERVING if serving else states.NOT_SERVING)

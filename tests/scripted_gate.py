"""An answer of a scripted server that keeps calls waiting until a test lets them go."""

from __future__ import annotations

import threading
from typing import Any

import grpc

from tests.scripted_server import Answer


class Gate:
    """Holds calls until it is opened; says how many are inside."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._changed = threading.Condition()
        self._open = False
        self.inside = 0
        self.most_inside = 0

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._changed:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open, 10)
            self.inside -= 1
        return self._answer(request, context)

    def wait_inside(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.inside == count, 10)

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

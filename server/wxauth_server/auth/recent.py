"""What a server process remembers for a minute, so that a retry can go on."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, for `keep_ms` milliseconds and `most` of them. Thread-safe."""

    def __init__(self, *, keep_ms: int, most: int) -> None:
        self._keep_ms = keep_ms
        self._most = most
        self._values: OrderedDict[K, tuple[int, V]] = OrderedDict()  # oldest first
        self._lock = threading.Lock()

    def put(self, key: K, value: V, *, now_ms: int) -> None:
        with self._lock:
            self._values[key] = (now_ms, value)
            self._values.move_to_end(key)
            while self._values:
                oldest_ms, _ = next(iter(self._values.values()))
                if now_ms - oldest_ms <= self._keep_ms and len(self._values) <= self._most:
                    break
                self._values.popitem(last=False)

    def replace(self, key: K, value: V) -> None:
        """Remember another value for as long as the former one, if that is there."""
        with self._lock:
            if key in self._values:
                self._values[key] = (self._values[key][0], value)

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._values.get(key)
        return found[1] if found else None

    def __contains__(self, key: K) -> bool:
        with self._lock:
            return key in self._values

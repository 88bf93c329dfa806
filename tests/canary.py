"""Watches over the whole test run that no secret gets where it must not.

Tests tell what is secret (`keep`) and what was said (`hear`): log records,
error statuses with their trailers, output of commands. Where a secret was said,
the run fails, whatever its tests did.
"""

from __future__ import annotations

import logging
import threading
import traceback

#: A shorter one would be found by chance.
SHORTEST_SECRET = 8


class Canary:
    """Secrets and utterances of one test run. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = set()
        self._heard: list[tuple[str, str]] = []

    def keep(self, secret: str) -> str:
        """Nothing may say `secret`; returned as it is."""
        if len(secret) >= SHORTEST_SECRET:
            with self._lock:
                self._secrets.add(secret)
        return secret

    def hear(self, where: str, text: str) -> None:
        """`text` was said: a log line, an error, a trailer."""
        with self._lock:
            self._heard.append((where, text))

    def leaks(self) -> list[str]:
        """Where a secret was said, one line each, without the secret."""
        with self._lock:
            # One search for each secret in everything that was said.
            everything = "\n".join(text for _, text in self._heard)
            leaked = [secret for secret in self._secrets if secret in everything]
            return sorted(
                {
                    f"{where}: a secret that starts with {secret[:4]!r}"
                    for secret in leaked
                    for where, text in self._heard
                    if secret in text
                }
            )

    @property
    def size(self) -> tuple[int, int]:
        """How many secrets and utterances: a canary that saw none proves nothing."""
        return len(self._secrets), len(self._heard)


class CanaryHandler(logging.Handler):
    """Hears every log record with its fields and the text of its exception."""

    def __init__(self, canary: Canary) -> None:
        super().__init__(level=logging.DEBUG)
        self._canary = canary

    def emit(self, record: logging.LogRecord) -> None:
        said = [record.getMessage(), repr(vars(record))]
        if record.exc_info and record.exc_info[1]:
            said.extend(traceback.format_exception(record.exc_info[1]))
        self._canary.hear(f"log {record.name}", "\n".join(said))


CANARY = Canary()

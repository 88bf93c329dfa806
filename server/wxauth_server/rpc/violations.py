"""Gathers what is wrong with a request, so that a caller learns of everything at once."""

from __future__ import annotations

from wxauth_server.errors import RequestInvalid


class Violations:
    """(field, what is wrong), in the order of their finding."""

    def __init__(self) -> None:
        self._found: list[tuple[str, str]] = []

    def add(self, field: str, problem: str) -> None:
        self._found.append((field, problem))

    def text(self, field: str, value: str, most_bytes: int, *, required: bool = False) -> bool:
        """Whether there is a text worth a closer look. `most_bytes` of UTF-8."""
        if not value:
            if required:
                self.add(field, "required")
            return False
        found = len(self._found)
        if "\0" in value:
            self.add(field, "contains NUL")
        if len(value.encode()) > most_bytes:
            self.add(field, f"longer than {most_bytes} bytes")
        return len(self._found) == found

    def raise_if_any(self) -> None:
        """Raises: RequestInvalid."""
        if self._found:
            raise RequestInvalid(*self._found)

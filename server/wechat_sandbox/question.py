"""One call as a handler sees it: the query, the body, the time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

# Four parameters are the most any interface has; the rest is room for mistakes
# worth an honest answer.
_MAX_QUERY_FIELDS = 16


@dataclass(slots=True)
class Question:
    """`now` is unix seconds."""

    query: dict[str, str]
    body: bytes
    now: float

    def json(self) -> dict[str, Any] | None:
        """The body as a JSON object, None if it is none."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


def read_query(query_string: bytes) -> dict[str, str]:
    """The first value of each parameter; empty when the query cannot be read."""
    query: dict[str, str] = {}
    try:
        fields = parse_qsl(query_string.decode("latin-1"), max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError:
        return query
    for name, value in fields:
        query.setdefault(name, value)
    return query

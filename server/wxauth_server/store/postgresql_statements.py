"""The store's statements in the way that psycopg wants them."""

from __future__ import annotations

import functools
import re

# In this order: what is in quotes or a comment is left as it is, and so is a cast.
_TOKEN = re.compile(
    r"""
    (?P<kept> '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | :: | := )
    | :(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    """,
    re.VERBOSE | re.DOTALL,
)


@functools.lru_cache(maxsize=2048)
def with_named_parameters(sql: str) -> str:
    """A statement with `:name` parameters as one with `%(name)s`."""
    parts, end = [], 0
    for token in _TOKEN.finditer(sql):
        parts.append(_escaped(sql[end : token.start()]))
        name = token["name"]
        parts.append(f"%({name})s" if name else _escaped(token["kept"]))
        end = token.end()
    parts.append(_escaped(sql[end:]))
    return "".join(parts)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")

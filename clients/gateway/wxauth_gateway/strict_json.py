"""JSON that leaves no room for interpretation: what it accepts, every parser reads alike.

`json.loads` takes the last of two equal keys, NaN, and lone surrogates, and
raises RecursionError on deep nesting (at about 1,000) and ValueError on integers
of more than 4,300 digits.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 16  # our deepest message has 2


class NotStrictJson(ValueError):
    """The text is not such JSON; the message says why and quotes nothing of it."""


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a JSON object, or raise NotStrictJson."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJson("not valid UTF-8") from None
    _check_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
    except NotStrictJson:
        raise
    except ValueError:  # its message would quote the text
        raise NotStrictJson("not valid JSON") from None
    if not isinstance(value, dict):
        raise NotStrictJson("not a JSON object")
    _check_texts(value)
    return value


def _check_depth(text: str) -> None:
    """Before parsing, since the parser recurses."""
    depth = 0
    in_string = False
    escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise NotStrictJson(f"nested deeper than {MAX_DEPTH}")
        elif char in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("a key stands twice in an object")
    return found


def _constant(_name: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are not JSON")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotStrictJson("a number is too large")
    return number


def _check_texts(value: Any) -> None:
    """Refuse what JSON can escape but no store and no protobuf text can hold."""
    if isinstance(value, str):
        if "\0" in value:
            raise NotStrictJson("a text contains NUL")
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise NotStrictJson("a text contains half a surrogate pair")
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_texts(key)
            _check_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_texts(inner)

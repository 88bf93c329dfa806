"""What is wrong with a request that is not the documented one: pydantic's findings in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# Its own texts are for programmers in Python.
_PROBLEMS = {
    "missing": "required",
    "extra_forbidden": "not known here",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
}
_MAX_FIELD_CHARS = 64


def violations_of(
    findings: Iterable[Mapping[str, Any]], *, below: int = 0
) -> tuple[tuple[str, str], ...]:
    """(field, problem) of each finding; the field is empty for the whole body. Quotes no value.

    `below` is how many parts of a location come before the field's name.
    """
    return tuple(
        (
            ".".join(str(part) for part in finding["loc"][below:])[:_MAX_FIELD_CHARS],
            _problem(finding),
        )
        for finding in findings
    )


def _problem(finding: Mapping[str, Any]) -> str:
    if finding["type"] == "value_error":  # of a validator in messages/
        return str(finding["msg"]).removeprefix("Value error, ")
    if finding["type"] == "missing" and finding["loc"] == ("body",):
        return "the body is missing: a JSON object is required"
    return _PROBLEMS.get(finding["type"], "not valid")

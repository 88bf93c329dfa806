"""The callers as JSON, which is what callers.json holds. No files here.

{"format": 1, "callers": [
  {"name": "gateway", "roles": ["gateway"], "created": "2026-11-01T08:00:00.000Z",
   "certificate_names": ["gateway.internal"]},
  {"name": "orders", "roles": ["service"], "created": "2026-11-01T08:00:00.000Z",
   "tokens": [{"sha256": "…", "created": "2026-11-01T08:00:00.000Z", "ends": null}]}]}
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from wxauth_server.callers.caller import (
    Caller,
    CallerBook,
    CallerToken,
    Role,
    check_certificate_name,
    check_name,
)
from wxauth_server.clock import EPOCH, MILLISECOND, iso

FORMAT = 1

# Later ones cannot be moved to every time zone.
_Moment = Annotated[AwareDatetime, Field(ge=EPOCH, lt=datetime(9999, 1, 1, tzinfo=UTC))]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Token(_Part):
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: _Moment
    ends: _Moment | None = None


class _Caller(_Part):
    name: Annotated[str, AfterValidator(check_name)]
    roles: Annotated[list[Role], Field(min_length=1)]
    created: _Moment
    tokens: list[_Token] = []
    certificate_names: list[Annotated[str, AfterValidator(check_certificate_name)]] = []

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if self.tokens and self.certificate_names:
            raise ValueError("it has tokens and certificate_names: give one of the two")
        return self


class _Document(_Part):
    format: Literal[1]
    callers: list[_Caller]


def callers_of(content: bytes) -> CallerBook:
    """Raises: ValueError, which says what is wrong and where, and quotes no value but names."""
    try:
        document = _Document.model_validate_json(content)
    except ValidationError as error:
        raise ValueError(_first_problem(error)) from None
    # Pydantic takes the last of two equal keys, and whoever reads the file may see the first.
    # What it took is nested no deeper than ours.
    json.loads(content, object_pairs_hook=_refuse_doubled_keys)
    return CallerBook(
        Caller(
            name=caller.name,
            roles=frozenset(caller.roles),
            created_ms=_milliseconds(caller.created),
            tokens=tuple(
                CallerToken(
                    digest=token.sha256,
                    created_ms=_milliseconds(token.created),
                    ends_ms=None if token.ends is None else _milliseconds(token.ends),
                )
                for token in caller.tokens
            ),
            certificate_names=tuple(caller.certificate_names),
        )
        for caller in document.callers
    )


def content_of(book: CallerBook) -> bytes:
    callers = []
    for caller in book.callers:
        entry: dict[str, object] = {
            "name": caller.name,
            "roles": sorted(caller.roles),
            "created": iso(caller.created_ms),
        }
        if caller.tokens:
            entry["tokens"] = [
                {
                    "sha256": token.digest,
                    "created": iso(token.created_ms),
                    "ends": iso(token.ends_ms),
                }
                for token in caller.tokens
            ]
        if caller.certificate_names:
            entry["certificate_names"] = list(caller.certificate_names)
        callers.append(entry)
    return json.dumps({"format": FORMAT, "callers": callers}, indent=2).encode() + b"\n"


def _refuse_doubled_keys(pairs: list[tuple[str, object]]) -> None:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the key {key} stands twice in an object")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such key"
    return f"{place}: {message}" if place else message


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MILLISECOND

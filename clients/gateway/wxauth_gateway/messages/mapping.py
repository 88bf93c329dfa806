"""How messages become JSON: camelCase, as protobuf maps its fields, and texts for times and spans.

Times are in RFC 3339, UTC, with 0, 3 or 6 digits of a second; spans in seconds
with an "s".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class In(BaseModel):
    """Of a request: nothing but the fields that are named, of exactly their types."""

    # By alias only: a request with both appId and app_id has no two meanings.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, hide_input_in_errors=True
    )


class Out(BaseModel):
    """Of an answer."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=False,
        hide_input_in_errors=True,
    )


class EmptyBody(In):
    """Nothing; the body may also be absent."""


class EmptyAnswer(Out):
    """It is done; there is nothing more to say."""


def rfc3339(time: datetime) -> str:
    """As protobuf's JSON: in UTC, with as few groups of three digits as do."""
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=_digits(time.microsecond))
    return text + "Z"


def seconds(span: timedelta) -> str:
    """As protobuf's JSON; `span` is not negative."""
    whole, micros = divmod(span // timedelta(microseconds=1), 1_000_000)
    match _digits(micros):
        case "seconds":
            return f"{whole}s"
        case "milliseconds":
            return f"{whole}.{micros // 1_000:03}s"
    return f"{whole}.{micros:06}s"


def _digits(micros: int) -> str:
    if not micros:
        return "seconds"
    return "microseconds" if micros % 1_000 else "milliseconds"

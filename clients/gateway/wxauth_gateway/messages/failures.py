"""What every refusal looks like."""

from __future__ import annotations

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from wxauth_gateway.messages.mapping import Out


class ViolationBody(Out):
    """What is wrong with one field."""

    field: str = Field(description="The field or header; empty for the whole body.")
    problem: str


class ErrorBody(Out):
    """Why a request failed. Decide on `reason`, never on `message`."""

    code: int = Field(description="The HTTP status.")
    status: str = Field(
        description="The name in google.rpc.Code.", json_schema_extra={"example": "UNAUTHENTICATED"}
    )
    reason: str = Field(
        description="A name of wxauth.v1.ErrorReason, or SERVER_UNREACHABLE or DEADLINE_EXCEEDED.",
        json_schema_extra={"example": "SESSION_EXPIRED"},
    )
    message: str = Field(description="For people; may change.")
    metadata: dict[str, str] = Field(description="What ErrorReason lists for the reason.")
    retry_after: str | SkipJsonSchema[None] = Field(
        None,
        description="How long to wait, as the header Retry-After says; with every 503 and 504, "
        "and with 429 where known.",
        pattern=r"^[0-9]+s$",
        json_schema_extra={"example": "60s"},
    )
    violations: list[ViolationBody] | SkipJsonSchema[None] = Field(
        None, description="With REQUEST_INVALID only: what is wrong."
    )


class ErrorAnswer(Out):
    """Every answer with a status of 400 or more."""

    error: ErrorBody

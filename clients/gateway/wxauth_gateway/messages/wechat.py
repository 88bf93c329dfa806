"""What the routes under /wechat take and answer. Personal data."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from wxauth_client import PhoneNumber, UserData
from wxauth_gateway.messages.mapping import In, Out, Time, rfc3339


class PhoneNumberBody(In):
    """Whose number it is, the session says."""

    code: str = Field(
        description="The code of the phone number button, not of wx.login. Works once, "
        "lives 5 minutes."
    )


class UserDataBody(In):
    """What the mini-program got from WeChat, as it got it: one pair, or both."""

    encrypted_data: str = Field("", description="To decrypt, together with `iv`.")
    iv: str = ""
    raw_data: str = Field(
        "",
        description="To verify, byte for byte, together with `signature`: a text, not an object.",
    )
    signature: str = ""

    @model_validator(mode="after")
    def _whole_pairs(self) -> Self:
        if bool(self.encrypted_data) != bool(self.iv):
            raise ValueError("encryptedData and iv go together")
        if bool(self.raw_data) != bool(self.signature):
            raise ValueError("rawData and signature go together")
        if not (self.iv or self.signature):
            raise ValueError("give encryptedData and iv, or rawData and signature, or all four")
        return self


class PhoneNumberAnswer(Out):
    """The number that the user has just agreed to share, verified by WeChat."""

    phone_number: str = Field(
        description="In E.164.", json_schema_extra={"example": "+8613800138000"}
    )
    country_code: str = Field(json_schema_extra={"example": "86"})
    national_number: str = Field(description="Without the country code.")

    @classmethod
    def of(cls, number: PhoneNumber) -> Self:
        return cls(
            phone_number=number.phone_number,
            country_code=number.country_code,
            national_number=number.national_number,
        )


class UserDataAnswer(Out):
    """It is WeChat's own. Empty if only `rawData` was given, which is as it is."""

    data: dict[str, Any] | SkipJsonSchema[None] = Field(
        None, description="What was encrypted, as WeChat wrote it, `watermark` included."
    )
    watermark_time: Time | SkipJsonSchema[None] = Field(None, description="When WeChat made it.")

    @classmethod
    def of(cls, opened: UserData) -> Self:
        return cls(data=dict(opened.data), watermark_time=rfc3339(opened.watermark_time))

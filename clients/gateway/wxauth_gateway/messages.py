"""The JSON that goes in and out: names, types and descriptions. /openapi.json is made of these.

camelCase, as protobuf maps its fields to JSON; times in RFC 3339, UTC, with 0,
3 or 6 digits of a second; spans in seconds with an "s". How long a text may be
is the server's to say.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import SkipJsonSchema

from wxauth_client import Account, Login, PhoneNumber, Session, Unbound, UserData

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class _In(BaseModel):
    # By alias only: a request with both appId and app_id has no two meanings.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, hide_input_in_errors=True
    )


class _Out(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=False,
        hide_input_in_errors=True,
    )


class LoginQuery(_In):
    """A login: silent with the code alone, binding with username and password too."""

    code: str = Field(description="The code from wx.login. Works once, lives 5 minutes.")
    app_id: str = Field(
        "",
        description="The mini-program's AppId. Without it, the Referer that WeChat sets names "
        "the mini-program; without that, it is the server's only one.",
    )
    username: str = Field("", description="The name in the company's own system.")
    password: str = Field("", description="The password, together with the username.")
    phone_code: str = Field(
        "",
        description="The code of the phone number button: binds to the account that has this "
        "verified number, where the mini-program allows it. Not with username and password.",
    )
    request_id: str = Field(
        "",
        description="Random, 22 to 128 visible ASCII characters, at least 128 bits; kept secret. "
        "With it the same login may be sent again within 60 seconds.",
    )
    device: str = Field("", description="What the user would call the device: iPhone 15.")


class LoginBody(LoginQuery):
    """A login: silent with the code alone, binding with username and password too."""

    rebind: bool = Field(
        False,
        description="True, after asking the user, to move a binding that is in the way; its "
        "sessions end. With username and password.",
    )


class UnbindBody(_In):
    """Fresh proof that the owner asks: exactly one of the two."""

    code: str = Field("", description="A new code from wx.login of the same WeChat user.")
    password: str = Field("", description="The password of the session's account.")

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if bool(self.code) == bool(self.password):
            raise ValueError("give either code or password")
        return self


class LogoutBody(_In):
    """Nothing; the body may also be absent."""


class PhoneNumberBody(_In):
    """Whose number it is, the session says."""

    code: str = Field(
        description="The code of the phone number button, not of wx.login. Works once, "
        "lives 5 minutes."
    )


class UserDataBody(_In):
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


class AccountBody(_Out):
    """One of the company's own accounts."""

    source: str = Field(description="Where the account lives.")
    id: str = Field(description="The company's own user id.")
    username: str = Field(description="Empty if the account has none.")
    display_name: str = Field(description="Empty if unknown.")

    @classmethod
    def of(cls, account: Account) -> Self:
        return cls(
            source=account.source,
            id=account.id,
            username=account.username,
            display_name=account.display_name,
        )


class LoginAnswer(_Out):
    """A session has begun."""

    session_id: str = Field(
        description="The secret to send as `Authorization: Bearer` from now on."
    )
    expire_time: Time = Field(description="When the session ends if unused; each use moves it.")
    absolute_expire_time: Time = Field(description="When it ends however much it is used.")
    account: AccountBody
    bound_now: bool = Field(description="True if this login made the binding.")

    @classmethod
    def of(cls, login: Login) -> Self:
        return cls(
            session_id=login.session_id,
            expire_time=rfc3339(login.idle_expire_time),
            absolute_expire_time=rfc3339(login.absolute_expire_time),
            account=AccountBody.of(login.account),
            bound_now=login.bound_now,
        )


class SessionAnswer(_Out):
    """A live session."""

    account: AccountBody
    app_id: str = Field(description="The mini-program.")
    openid: str = Field(description="The WeChat user in this mini-program.")
    unionid: str = Field(description="The WeChat user across apps; empty if unknown.")
    session_handle: str = Field(description="The session's public name; opens nothing.")
    login_time: Time
    expire_time: Time = Field(description="When the session ends if unused; each use moves it.")
    absolute_expire_time: Time = Field(description="When it ends however much it is used.")
    reuse_for: str = Field(
        description="How long this answer may be reused, from the start of the request.",
        pattern=r"^[0-9]+(\.[0-9]{3}|\.[0-9]{6})?s$",
        json_schema_extra={"example": "300s"},
    )

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(
            account=AccountBody.of(session.account),
            app_id=session.app_id,
            openid=session.openid,
            unionid=session.unionid,
            session_handle=session.handle,
            login_time=rfc3339(session.login_time),
            expire_time=rfc3339(session.idle_expire_time),
            absolute_expire_time=rfc3339(session.absolute_expire_time),
            reuse_for=seconds(session.reuse_for),
        )


class UnbindAnswer(_Out):
    """A binding and all its sessions have ended."""

    already: bool = Field(
        description="True if it had been ended before; the other fields are absent then."
    )
    app_id: str | SkipJsonSchema[None] = None
    openid: str | SkipJsonSchema[None] = None
    account: AccountBody | SkipJsonSchema[None] = None
    sessions_ended: int | SkipJsonSchema[None] = Field(
        None, description="How many live sessions ended, this one included."
    )

    @classmethod
    def of(cls, unbound: Unbound) -> Self:
        return cls(
            already=unbound.already,
            app_id=unbound.app_id,
            openid=unbound.openid,
            account=unbound.account and AccountBody.of(unbound.account),
            sessions_ended=unbound.sessions_ended,
        )


class PhoneNumberAnswer(_Out):
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


class UserDataAnswer(_Out):
    """It is WeChat's own. Empty if only `rawData` was given, which is as it is."""

    data: dict[str, Any] | SkipJsonSchema[None] = Field(
        None, description="What was encrypted, as WeChat wrote it, `watermark` included."
    )
    watermark_time: Time | SkipJsonSchema[None] = Field(None, description="When WeChat made it.")

    @classmethod
    def of(cls, opened: UserData) -> Self:
        return cls(data=dict(opened.data), watermark_time=rfc3339(opened.watermark_time))


class EmptyAnswer(_Out):
    """It is done; there is nothing more to say."""


class ViolationBody(_Out):
    """What is wrong with one field."""

    field: str = Field(description="The field or header; empty for the whole body.")
    problem: str


class ErrorBody(_Out):
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
    violations: list[ViolationBody] | SkipJsonSchema[None] = Field(
        None, description="With REQUEST_INVALID only: what is wrong."
    )


class ErrorAnswer(_Out):
    """Every answer with a status of 400 or more."""

    error: ErrorBody


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

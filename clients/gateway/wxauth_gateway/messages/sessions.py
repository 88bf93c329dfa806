"""Sessions: the one that asks, and all of its account."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from wxauth_client import OwnSession, Session
from wxauth_gateway.messages.accounts import AccountBody
from wxauth_gateway.messages.mapping import Out, Time, rfc3339, seconds


class SessionAnswer(Out):
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


class OwnSessionBody(Out):
    """One of the user's own live sessions. A text is empty if it is unknown."""

    session_handle: str = Field(description="The session's public name; opens nothing.")
    current: bool = Field(description="True for the session that asked.")
    device: str = Field(description="What the user would call the device.")
    user_agent: str = Field(description="The User-Agent of the login.")
    network: str = Field(
        description="The network that the login came from.",
        json_schema_extra={"example": "203.0.113.0/24"},
    )
    login_time: Time
    last_seen_time: Time = Field(description="When it was used last, to within some minutes.")
    idle_expire_time: Time = Field(description="When the session ends if unused.")
    absolute_expire_time: Time = Field(description="When it ends however much it is used.")

    @classmethod
    def of(cls, session: OwnSession) -> Self:
        return cls(
            session_handle=session.handle,
            current=session.current,
            device=session.device,
            user_agent=session.user_agent,
            network=session.network,
            login_time=rfc3339(session.login_time),
            last_seen_time=rfc3339(session.last_seen_time),
            idle_expire_time=rfc3339(session.idle_expire_time),
            absolute_expire_time=rfc3339(session.absolute_expire_time),
        )


class SessionsAnswer(Out):
    """The live sessions of the user in this mini-program."""

    sessions: list[OwnSessionBody] = Field(description="Newest login first, at most 100.")

    @classmethod
    def of(cls, sessions: list[OwnSession]) -> Self:
        return cls(sessions=[OwnSessionBody.of(session) for session in sessions])

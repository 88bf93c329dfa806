"""What POST /login takes and answers."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from wxauth_client import Login
from wxauth_gateway.messages.accounts import AccountBody
from wxauth_gateway.messages.mapping import In, Out, Time, rfc3339


class LoginQuery(In):
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


class LoginAnswer(Out):
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

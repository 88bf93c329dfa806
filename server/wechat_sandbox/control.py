"""The control paths for people and apps: what phones, time and WeChat's staff would do.

`POST /_control/codes`                  a user's wx.login
`POST /_control/phone-codes`            a user presses the phone button
`POST /_control/user-data`              what the phone tells a mini-program about its user
`POST /_control/session-keys/expire`    a user's session_key ends
`POST /_control/access-tokens/expire`   an app's tokens end, now or soon
`POST /_control/access-tokens/revoke`   an app's tokens are void before their time
`POST /_control/platforms`              an app joins or leaves an Open Platform account
`POST /_control/blocked`                a user becomes one of high risk, or no longer

A bad request gets 400 and {"error": "<what is wrong>"}; no value that it sent is repeated.
"""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from wechat_sandbox.access_tokens import TOKEN_LIFETIME_S, AccessTokens
from wechat_sandbox.control_request import Asked, RequestRefused, explaining, read_object
from wechat_sandbox.one_time_codes import OneTimeCodes, Phone
from wechat_sandbox.phone_numbers import phone_fields
from wechat_sandbox.user_data import hand_out, profile_of
from wechat_sandbox.world import World, openid_of, phone_of

# Unix seconds up to the year 9999.
_LAST_SECOND = 253_402_300_799

_KINDS = ("profile", "phone")


class Control:
    """The endpoints, over the state of one sandbox."""

    def __init__(
        self,
        world: World,
        tokens: AccessTokens,
        login_codes: OneTimeCodes,
        phone_codes: OneTimeCodes,
        clock: Callable[[], float],
    ) -> None:
        self._world = world
        self._tokens = tokens
        self._login_codes = login_codes
        self._phone_codes = phone_codes
        self._clock = clock

    def routes(self) -> list[Route]:
        paths = {
            "codes": self._codes,
            "phone-codes": self._phone_button,
            "user-data": self._user_data,
            "session-keys/expire": self._expire_session_key,
            "access-tokens/expire": self._expire_tokens,
            "access-tokens/revoke": self._revoke_tokens,
            "platforms": self._move_to_platform,
            "blocked": self._block,
        }
        return [
            Route(f"/_control/{path}", explaining(endpoint), methods=["POST"])
            for path, endpoint in paths.items()
        ]

    async def _codes(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid", "user"))
        app_id, user = self._app_id(asked), asked.name("user")
        return JSONResponse({"code": self._login_codes.mint(app_id, user, self._clock())})

    async def _phone_button(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid", "user", "phone", "countryCode"))
        app_id, user = self._app_id(asked), asked.name("user")
        code = self._phone_codes.mint(app_id, user, self._clock(), _phone(asked, user))
        return JSONResponse({"code": code})

    async def _user_data(self, request: Request) -> Response:
        asked = Asked(
            await read_object(request),
            ("appid", "user", "kind", "data", "phone", "countryCode", "watermark"),
        )
        app_id, user, now = self._app_id(asked), asked.name("user"), self._clock()
        secret_fields: dict[str, object] = {}
        if asked.one_of("kind", _KINDS, default="profile") == "phone":
            data = phone_fields(_phone(asked, user))
        else:
            data = profile_of(user)
            secret_fields["openId"] = openid_of(app_id, user)
            if unionid := self._world.unionid(app_id, user):
                secret_fields["unionId"] = unionid
        if "data" in asked:
            data, secret_fields = asked.object("data"), {}
        session_key = self._world.session_key(app_id, user, now)
        if session_key is None:
            raise RequestRefused("user: has no session_key in this app: exchange a code first")
        try:
            handed_out = hand_out(
                data,
                session_key,
                secret_fields=secret_fields,
                watermark=_watermark(asked, app_id, now),
            )
        except UnicodeEncodeError:
            raise RequestRefused("data: has half a character, a lone surrogate") from None
        return JSONResponse(handed_out)

    async def _expire_session_key(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid", "user"))
        app_id, user = self._app_id(asked), asked.name("user")
        return JSONResponse(
            {"expired": self._world.expire_session_key(app_id, user, self._clock())}
        )

    async def _expire_tokens(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid", "left_s"))
        app_id = self._app_id(asked)
        left_s = asked.number("left_s", 0, TOKEN_LIFETIME_S, default=0)
        return JSONResponse({"tokens": self._tokens.expire(app_id, left_s, self._clock())})

    async def _revoke_tokens(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid",))
        return JSONResponse({"tokens": self._tokens.revoke(self._app_id(asked), self._clock())})

    async def _move_to_platform(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("appid", "platform"))
        app_id = self._app_id(asked)
        platform = None if asked.is_null("platform") else asked.name("platform")
        self._world.move_to_platform(app_id, platform)
        return JSONResponse({"appid": app_id, "platform": platform})

    async def _block(self, request: Request) -> Response:
        asked = Asked(await read_object(request), ("user", "blocked"))
        user, blocked = asked.name("user"), asked.flag("blocked")
        self._world.block(user, blocked=blocked)
        return JSONResponse({"user": user, "blocked": blocked})

    def _app_id(self, asked: Asked) -> str:
        try:
            app = self._world.app(asked.name("appid"))
        except RequestRefused:
            app = None
        if app is None:
            raise RequestRefused("appid: the sandbox has no such app")
        return app.app_id


def _phone(asked: Asked, user: str) -> Phone:
    """The number that was asked for, else the user's own."""
    number = asked.digits("phone", 4, 15) if "phone" in asked else phone_of(user)
    if "countryCode" in asked:
        return Phone(number, asked.digits("countryCode", 1, 3))
    return Phone(number)


def _watermark(asked: Asked, app_id: str, now: float) -> dict[str, object]:
    """The one of the app and of now, but for what was asked to differ."""
    given = Asked(asked.object("watermark") if "watermark" in asked else {}, ("appid", "timestamp"))
    return {
        "timestamp": given.number("timestamp", 0, _LAST_SECOND, default=int(now)),
        "appid": given.name("appid") if "appid" in given else app_id,
    }

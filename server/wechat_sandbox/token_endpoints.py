"""stable_token, and the old token interface that a client should not use. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping

from wechat_sandbox.access_tokens import AccessTokens
from wechat_sandbox.answers import Outcome, json_body
from wechat_sandbox.question import Question
from wechat_sandbox.world import SandboxApp, World

STABLE_PATH = "/cgi-bin/stable_token"
PLAIN_PATH = "/cgi-bin/token"

# WeChat's own figure: stable_token in normal mode, per app.
STABLE_A_MINUTE = 10_000


class StableToken:
    """`POST /cgi-bin/stable_token` with a JSON body."""

    def __init__(self, world: World, tokens: AccessTokens) -> None:
        self._world = world
        self._tokens = tokens
        self._minute = 0
        self._asked_this_minute: dict[str, int] = {}  # app_id -> times

    def answer(self, question: Question) -> Outcome:
        asked = question.json()
        if asked is None:
            return Outcome(47001)
        errcode, app = _identify(self._world, asked)
        if errcode or app is None:
            return Outcome(errcode, app.app_id if app else None)
        if not self._within_quota(app.app_id, question.now):
            return Outcome(45011, app.app_id)
        token, left_s = self._tokens.stable(
            app.app_id, question.now, force_refresh=asked.get("force_refresh") is True
        )
        return Outcome(0, app.app_id, success=_token_body(token, left_s))

    def _within_quota(self, app_id: str, now: float) -> bool:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._asked_this_minute.clear()
        asked = self._asked_this_minute.get(app_id, 0) + 1
        self._asked_this_minute[app_id] = asked
        return asked <= STABLE_A_MINUTE


class PlainToken:
    """`GET /cgi-bin/token`: each call voids the token before, whoever still uses it."""

    def __init__(self, world: World, tokens: AccessTokens) -> None:
        self._world = world
        self._tokens = tokens

    def answer(self, question: Question) -> Outcome:
        errcode, app = _identify(self._world, question.query)
        if errcode or app is None:
            return Outcome(errcode, app.app_id if app else None)
        token, left_s = self._tokens.plain(app.app_id, question.now)
        return Outcome(0, app.app_id, success=_token_body(token, left_s))


def _identify(world: World, asked: Mapping[str, object]) -> tuple[int, SandboxApp | None]:
    """The errcode of the first thing that is wrong and the app, as far as it is known.

    The order is that of code2Session.
    """
    app_id, secret = asked.get("appid"), asked.get("secret")
    if not isinstance(app_id, str) or not app_id:
        return 41002, None
    app = world.app(app_id)
    if not isinstance(secret, str) or not secret:
        return 41004, app
    if app is None:
        return 40013, None
    if secret != app.secret:
        return 40125, app
    return 0 if asked.get("grant_type") == "client_credential" else 40002, app


def _token_body(token: str, left_s: int) -> bytes:
    return json_body({"access_token": token, "expires_in": left_s})

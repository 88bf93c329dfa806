"""code2Session: a login code for the openid and a new session_key. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping

from wechat_sandbox.answers import Outcome, session_body
from wechat_sandbox.mischief_maker import MischiefMaker
from wechat_sandbox.one_time_codes import Code, OneTimeCodes
from wechat_sandbox.question import Question
from wechat_sandbox.world import SandboxApp, World

PATH = "/sns/jscode2session"


class CodeToSession:
    """Answers questions; burns a code only when it succeeds."""

    def __init__(self, world: World, codes: OneTimeCodes, mischief: MischiefMaker) -> None:
        self._world = world
        self._codes = codes
        self._mischief = mischief
        self._minute = 0
        self._asked_this_minute: dict[tuple[str, str], int] = {}  # app_id, user -> times

    def answer(self, question: Question) -> Outcome:
        query, now = question.query, question.now
        app, code = self._find(question)
        errcode = self._objection(query, app, code, now)
        if errcode or app is None or code is None:
            app_id, user = _names(app, code)
            return Outcome(errcode, app_id, user)
        # Only success burns the code: after 45011 it still works a minute later.
        code.used = True
        openid, session_key = self._world.begin_session(app.app_id, code.user, now)
        unionid = self._world.unionid(app.app_id, code.user)
        return Outcome(0, app.app_id, code.user, session_body(session_key, openid, unionid))

    def asker(self, question: Question) -> tuple[str | None, str | None]:
        """Whose app and user a question is about that is not answered properly."""
        return _names(*self._find(question))

    def _find(self, question: Question) -> tuple[SandboxApp | None, Code | None]:
        app = self._world.app(question.query.get("appid", ""))
        if app is None:
            return None, None
        code = self._codes.find(question.query.get("js_code", ""), app.app_id, question.now)
        return app, code

    def _objection(
        self, query: Mapping[str, str], app: SandboxApp | None, code: Code | None, now: float
    ) -> int:
        """The errcode of the first thing that is wrong, 0 if nothing is.

        Our order, as WeChat documents none: what is missing, who asks, what for,
        the code, its user.
        """
        for name, errcode in (("appid", 41002), ("secret", 41004), ("js_code", 41008)):
            if not query.get(name):
                return errcode
        if app is None:
            return 40013
        if query["secret"] != app.secret:
            return 40125
        if query.get("grant_type") != "authorization_code":
            return 40002
        if code is None:
            return 40029
        if code.used:
            return 40163
        if self._world.is_blocked(code.user) or self._mischief.blocks(code.user):
            return 40226
        return 0 if self._within_quota(app.app_id, code.user, now) else 45011

    def _within_quota(self, app_id: str, user: str, now: float) -> bool:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._asked_this_minute.clear()
        asked = self._asked_this_minute.get((app_id, user), 0) + 1
        self._asked_this_minute[app_id, user] = asked
        return asked <= self._mischief.knobs.minute_quota


def _names(app: SandboxApp | None, code: Code | None) -> tuple[str | None, str | None]:
    return app.app_id if app else None, code.user if code else None

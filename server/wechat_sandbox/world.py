"""What this WeChat knows: mini-programs, people, codes, session_keys. No HTTP here.

State lives in memory and starts empty. Not thread-safe: one event loop owns it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import string
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from wechat_sandbox.answers import error_body, session_body

# WeChat's own figures: a code lives 5 minutes; a user may be asked about 100 times a minute.
CODE_LIFETIME_S = 300
EXCHANGES_A_MINUTE = 100

# How many exchanges the history remembers: enough for a test run, never a leak.
HISTORY_LENGTH = 1000

_ALPHANUMERIC = (string.digits + string.ascii_letters).encode("ascii")
# Random byte -> character. 62 does not divide 256; the slight bias is harmless in 31 characters.
_TO_ALPHANUMERIC = bytes(_ALPHANUMERIC[byte % len(_ALPHANUMERIC)] for byte in range(256))


@dataclass(frozen=True, slots=True)
class SandboxApp:
    """A mini-program. `platform` names its Open Platform account, if it has one.

    Apps of the same platform see the same unionid for a user; without a
    platform no unionid is sent.
    """

    app_id: str
    secret: str = field(repr=False)
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question to code2Session, as the history shows it: nothing secret.

    `time` is unix seconds; `errcode` is 0 for success. `app_id` is None when
    the one asked for does not exist (somebody may have sent the AppSecret in
    its place), `user` is None when the code belongs to nobody in that app.
    """

    time: float
    app_id: str | None
    user: str | None
    errcode: int


@dataclass(slots=True)
class _Code:
    app_id: str
    user: str
    minted_at: float
    used: bool = False


def openid_of(app_id: str, user: str) -> str:
    """28 characters, the same for the same app and user after every restart."""
    return _derived_id("openid", app_id, user)


def unionid_of(platform: str, user: str) -> str:
    """28 characters, the same for a user in every app of the platform."""
    return _derived_id("unionid", platform, user)


def _derived_id(kind: str, owner: str, user: str) -> str:
    digest = hmac.digest(f"{kind}:{owner}".encode(), user.encode(), hashlib.sha256)
    return "o" + base64.urlsafe_b64encode(digest).decode("ascii")[:27]


class World:
    """All state of one sandbox. `clock` gives unix seconds and decides when codes expire."""

    def __init__(self, apps: Sequence[SandboxApp], clock: Callable[[], float]) -> None:
        self._apps = {app.app_id: app for app in apps}
        if len(self._apps) != len(apps):
            raise ValueError("two apps have the same app_id")
        self._clock = clock
        self._codes: OrderedDict[str, _Code] = OrderedDict()  # oldest first
        self._session_keys: dict[str, str] = {}  # openid -> the newest key
        self._minute = 0
        self._asked_this_minute: dict[str, int] = {}  # openid -> times
        self.history: deque[Exchange] = deque(maxlen=HISTORY_LENGTH)

    def has_app(self, app_id: str) -> bool:
        return app_id in self._apps

    def mint_code(self, app_id: str, user: str) -> str:
        """What wx.login would give `user` in this app: 32 characters, good once, for 5 minutes.

        The app must exist (`has_app`).
        """
        now = self._clock()
        self._forget_expired_codes(now)
        code = "0" + secrets.token_bytes(31).translate(_TO_ALPHANUMERIC).decode("ascii")
        self._codes[code] = _Code(app_id, user, now)
        return code

    def session_key_of(self, openid: str) -> str | None:
        """The user's newest session_key, None before the first exchange."""
        return self._session_keys.get(openid)

    def code_to_session(self, query: Mapping[str, str]) -> bytes:
        """Answer code2Session and note the question in the history."""
        now = self._clock()
        app = self._apps.get(query.get("appid", ""))
        code = self._codes.get(query.get("js_code", ""))
        if code is not None and (
            app is None or code.app_id != app.app_id or now - code.minted_at >= CODE_LIFETIME_S
        ):
            code = None
        errcode = self._objection(query, app, code, now)
        self.history.append(
            Exchange(
                time=now,
                app_id=app.app_id if app else None,
                user=code.user if code else None,
                errcode=errcode,
            )
        )
        if errcode or app is None or code is None:
            return error_body(errcode, now)
        # Only success burns the code: after 45011 it still works a minute later.
        code.used = True
        openid = openid_of(app.app_id, code.user)
        session_key = base64.b64encode(secrets.token_bytes(16)).decode("ascii")
        self._session_keys[openid] = session_key
        unionid = unionid_of(app.platform, code.user) if app.platform else ""
        return session_body(session_key, openid, unionid)

    def _objection(
        self, query: Mapping[str, str], app: SandboxApp | None, code: _Code | None, now: float
    ) -> int:
        """The errcode of the first thing that is wrong, 0 if nothing is.

        Our order, as WeChat documents none: what is missing, who asks, what for, the code.
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
        return 0 if self._within_quota(openid_of(app.app_id, code.user), now) else 45011

    def _within_quota(self, openid: str, now: float) -> bool:
        minute = int(now // 60)
        if minute != self._minute:
            self._minute = minute
            self._asked_this_minute.clear()
        asked = self._asked_this_minute.get(openid, 0) + 1
        self._asked_this_minute[openid] = asked
        return asked <= EXCHANGES_A_MINUTE

    def _forget_expired_codes(self, now: float) -> None:
        while self._codes:
            oldest = next(iter(self._codes.values()))
            if now - oldest.minted_at < CODE_LIFETIME_S:
                return
            self._codes.popitem(last=False)

"""The access_tokens of our apps: fetched by stable_token, kept in memory, replaced in time.

What WeChat's page of stable_token says, and what is made of it here:

- In normal mode it gives the same token until the last five minutes of its
  life, then a new one while both work. So a token is renewed when those minutes
  begin, behind the callers' backs: they still get the old one.
- A token that WeChat refuses although it has not expired was revoked. Another
  server, or another service of the company, may have done that with
  force_refresh, and then normal mode already gives the new one: it is asked
  first. Only if it gives the refused one again, force_refresh is sent.
- force_refresh works 20 times a day and app, at most every 30 s.

The logins of users need none of this: code2Session takes no token.
"""

from __future__ import annotations

import copy
import json
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from wxauth_server.deadline import Deadline
from wxauth_server.errors import AuthError, DeadlineTooShort, Overloaded, WeChatUnavailable
from wxauth_server.wechat.answers import Fields, Nonsense, NoResult
from wxauth_server.wechat.endpoint import LEAST_S, TOTAL_S, Endpoint

_log = logging.getLogger(__name__)

# The last part of a token's life, in which stable_token gives a new one.
_LAST_PART_S = 300

# The longest life of a token; WeChat's page: "7200 s or less, at present".
_LONGEST_LIFE_S = 7200

# A token that begins with its last part is still used so long, or half its life if that is
# shorter, before it is renewed; and so long after a renewal failed, no other one is tried while
# the old token lives.
_PAUSE_S = 10.0

# Between two forced renewals of an app, and as long is a refused token remembered as such.
FORCE_INTERVAL_S = 30.0

# Half of what WeChat allows: another server may need the rest.
FORCED_A_DAY = 10
_DAY_S = 86_400.0

# WeChat's page asks for room for 512 characters; what it sends has 130 to 200 today.
_TOKEN = re.compile(r"[!-~]{1,1024}")


@dataclass(frozen=True, slots=True)
class _Token:
    """Moments are on the monotonic clock."""

    text: str = field(repr=False)
    renew_at: float
    expires_at: float


class _Renewal:
    """One renewal, under way or over: then with a token or an error."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._token: str | None = None
        self._error: AuthError = WeChatUnavailable()

    def succeed(self, token: str) -> None:
        self._token = token
        self._over.set()

    def fail(self, error: AuthError) -> None:
        self._error = error
        self._over.set()

    def wait(self, deadline: Deadline) -> str:
        """The token. Raises what made the renewal fail, and WeChatUnavailable at the deadline."""
        if not self._over.wait(deadline.left_s()):
            raise WeChatUnavailable
        if self._token is None:
            # A copy: the tracebacks of many threads do not belong in one exception.
            raise copy.copy(self._error)
        return self._token


class _App:
    """What is known of one app's token. Its lock is never held while WeChat is asked."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token: _Token | None = None
        self.renewal: _Renewal | None = None
        self.refused = ""  # the token that WeChat refused last,
        self.refused_until = 0.0  # and when that is forgotten
        self.forced_at: deque[float] = deque(maxlen=FORCED_A_DAY)

    def usable(self, now: float) -> _Token | None:
        """The token, if it lives and WeChat has not just refused it."""
        token = self.token
        if token is None or now >= token.expires_at or self.is_refused(token.text, now):
            return None
        return token

    def is_refused(self, token: str, now: float) -> bool:
        return token == self.refused and now < self.refused_until

    def force_wait_s(self, now: float) -> float:
        """After how many seconds a renewal may be forced; 0.0 is now."""
        wait_s = 0.0
        if self.forced_at:
            wait_s = self.forced_at[-1] + FORCE_INTERVAL_S - now
        if len(self.forced_at) == FORCED_A_DAY:
            wait_s = max(wait_s, self.forced_at[0] + _DAY_S - now)
        return max(0.0, wait_s)


class AccessTokens:
    """Thread-safe. Any number of concurrent callers cause one renewal an app.

    A renewal runs in a thread of its own, at most one an app, and ends within
    2.8 s: no caller's deadline cuts short what others wait for. They all get
    its token or its error. `monotonic` is the clock of the tokens' lives.
    """

    def __init__(
        self, stable_token: Endpoint, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = stable_token
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # The secret belongs to the key: who has the wrong one gets nobody's token.
        self._apps: dict[tuple[str, str], _App] = {}

    def get(self, app_id: str, app_secret: str, deadline: Deadline) -> str:
        """A token that was good when WeChat was last asked.

        Waits only if there is none, and no longer than the deadline. Raises
        WeChatMisconfigured, WeChatRateLimited, WeChatUnavailable, Overloaded
        (no thread to be had) and DeadlineTooShort.
        """
        app = self._app(app_id, app_secret)
        with app.lock:
            now = self._monotonic()
            token = app.usable(now)
            if token is not None and now < token.renew_at:
                return token.text
            if token is None and deadline.left_s() < LEAST_S:
                raise DeadlineTooShort
            renewal = app.renewal or self._begin(app, app_id, app_secret)
        return renewal.wait(deadline) if token is None else token.text

    def replace(self, app_id: str, app_secret: str, refused: str, deadline: Deadline) -> str:
        """Another token than `refused`, which WeChat has just refused. Raises as `get`.

        Asks WeChat only if `refused` is still the app's token: once, and once
        more with force_refresh if it gives the same again.
        """
        app = self._app(app_id, app_secret)
        with app.lock:
            now = self._monotonic()
            token = app.usable(now)
            if token is not None and token.text == refused:
                app.refused, app.refused_until = refused, now + FORCE_INTERVAL_S
        return self.get(app_id, app_secret, deadline)

    def _app(self, app_id: str, app_secret: str) -> _App:
        with self._lock:
            return self._apps.setdefault((app_id, app_secret), _App())

    def _begin(self, app: _App, app_id: str, app_secret: str) -> _Renewal:
        """With the app's lock held."""
        renewal = app.renewal = _Renewal()
        # A daemon: the process need not wait for WeChat to end.
        thread = threading.Thread(
            target=self._renew,
            args=(app, renewal, app_id, app_secret),
            name="access-token",
            daemon=True,
        )
        try:
            thread.start()
        except RuntimeError:
            app.renewal = None
            renewal.fail(Overloaded())
        return renewal

    def _renew(self, app: _App, renewal: _Renewal, app_id: str, app_secret: str) -> None:
        error: AuthError = WeChatUnavailable()
        deadline = Deadline(TOTAL_S)
        try:
            token = self._ask(app_id, app_secret, deadline, force=False)
            if not self._keep(app, renewal, token):
                self._reserve_force(app, app_id)
                token = self._ask(app_id, app_secret, deadline, force=True)
                if not self._keep(app, renewal, token):
                    _log.warning("WeChat keeps to a token that it refuses: app %s", app_id)
        except AuthError as refusal:
            error = refusal
        finally:
            with app.lock:
                if app.renewal is renewal:
                    app.renewal = None
                    if app.token is not None:
                        later = self._monotonic() + _PAUSE_S
                        app.token = _Token(app.token.text, later, app.token.expires_at)
                    renewal.fail(error)

    def _keep(self, app: _App, renewal: _Renewal, token: _Token) -> bool:
        """End the renewal with this token, unless WeChat refused the same one a moment ago."""
        with app.lock:
            # With the lock held, so that no caller refuses it between the look and the end.
            if app.is_refused(token.text, self._monotonic()):
                return False
            app.token, app.renewal = token, None
            renewal.succeed(token.text)
            return True

    def _reserve_force(self, app: _App, app_id: str) -> None:
        with app.lock:
            now = self._monotonic()
            wait_s = app.force_wait_s(now)
            if wait_s == 0:
                app.forced_at.append(now)
        if wait_s > 0:
            _log.warning("WeChat refuses the token that it gives out: app %s", app_id)
            raise WeChatUnavailable(retry_after_s=min(wait_s, FORCE_INTERVAL_S))
        _log.warning("an access_token was revoked: getting a new one by force, app %s", app_id)

    def _ask(self, app_id: str, app_secret: str, deadline: Deadline, *, force: bool) -> _Token:
        asked_at = self._monotonic()
        body = {
            "grant_type": "client_credential",
            "appid": app_id,
            "secret": app_secret,
            "force_refresh": force,
        }
        answer = self._endpoint.ask(
            lambda fields: _read_token(fields, asked_at),
            deadline,
            json_body=json.dumps(body).encode(),
        )
        if isinstance(answer, NoResult):
            raise self._endpoint.refusal_of(answer, app_id)
        return answer


def _read_token(fields: Fields, asked_at: float) -> _Token | Nonsense:
    text, expires_in = fields.get("access_token"), fields.get("expires_in")
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        return Nonsense("no proper access_token")
    if type(expires_in) is not int or expires_in <= 0:
        return Nonsense("no proper expires_in")
    life_s = min(expires_in, _LONGEST_LIFE_S)
    fresh_s = max(life_s - _LAST_PART_S, min(life_s / 2, _PAUSE_S))
    return _Token(text, asked_at + fresh_s, asked_at + life_s)

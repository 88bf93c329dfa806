"""The mini-programs this server answers for, and the policy of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from wxauth_server.errors import RequestInvalid


@dataclass(frozen=True)
class SessionLimits:
    """How long the sessions of an app live. Milliseconds."""

    idle_ms: int
    absolute_ms: int
    #: Live sessions of one WeChat user; the oldest login is ended beyond it.
    most_live: int

    @property
    def touch_after_ms(self) -> int:
        """How stale last_seen may get before it is written again.

        A tenth of the idle limit, 5 minutes at most: with the caller's reuse of
        as long again it stays far below half the idle limit (design.md section 5).
        """
        return min(self.idle_ms // 10, 300_000)


@dataclass(frozen=True)
class App:
    """One mini-program."""

    app_id: str
    secret: str = field(repr=False)
    account_source: str
    limits: SessionLimits
    #: False: an account is bound to one WeChat user of the app at most.
    several_users_per_account: bool = False
    #: The WeChat Open Platform account the app belongs to; "" for none. WeChat
    #: gives a person the same unionid in all its apps.
    open_platform: str = ""
    #: A WeChat user without an account gets a new one.
    registers: bool = False
    #: A verified phone number may stand for the account's password.
    binds_by_phone: bool = False


class Apps:
    """The apps by AppId."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._apps = {app.app_id: app for app in apps}

    def get(self, app_id: str) -> App | None:
        return self._apps.get(app_id)

    def __iter__(self) -> Iterator[App]:
        return iter(self._apps.values())

    def siblings(self, app: App) -> frozenset[str]:
        """AppIds of the others with the same Open Platform account and account source."""
        return frozenset(
            other.app_id
            for other in self._apps.values()
            if app.open_platform
            and other.open_platform == app.open_platform
            and other.account_source == app.account_source
            and other is not app
        )

    def choose(self, app_id: str) -> App:
        """The app a login is for; the only one if none is named.

        Raises: RequestInvalid.
        """
        if not app_id:
            if len(self._apps) == 1:
                return next(iter(self._apps.values()))
            raise RequestInvalid(("app_id", "required: this server serves several mini-programs"))
        app = self._apps.get(app_id)
        if app is None:
            raise RequestInvalid(("app_id", "this server does not serve this mini-program"))
        return app

"""What this WeChat knows: mini-programs, people, session_keys. No HTTP and no rules here.

State lives in memory and starts empty. Not thread-safe: one event loop owns it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

# Ours: WeChat promises no figure, only that a session_key ends some day.
SESSION_KEY_LIFETIME_S = 3 * 24 * 3600


@dataclass(frozen=True, slots=True)
class SandboxApp:
    """A mini-program. `platform` names its Open Platform account, if it has one.

    Apps of the same platform see the same unionid for a user; without a
    platform no unionid is sent.
    """

    app_id: str
    secret: str = field(repr=False)
    platform: str | None = None


@dataclass(slots=True)
class Person:
    """A user of an app who has logged in, with the newest session_key.

    `key_ends_at` is unix seconds.
    """

    app_id: str
    user: str
    session_key: str = field(repr=False)
    key_ends_at: float


def openid_of(app_id: str, user: str) -> str:
    """28 characters, the same for the same app and user after every restart."""
    return _derived_id("openid", app_id, user)


def unionid_of(platform: str, user: str) -> str:
    """28 characters, the same for a user in every app of the platform."""
    return _derived_id("unionid", platform, user)


def phone_of(user: str) -> str:
    """A mainland number of 11 digits, the same for a user in every app and after every restart."""
    digest = hashlib.sha256(b"phone:" + user.encode()).digest()
    return f"13{int.from_bytes(digest[:8]) % 10**9:09d}"


def _derived_id(kind: str, owner: str, user: str) -> str:
    digest = hmac.digest(f"{kind}:{owner}".encode(), user.encode(), hashlib.sha256)
    return "o" + base64.urlsafe_b64encode(digest).decode("ascii")[:27]


class World:
    """Apps and people of one sandbox. Every `now` is unix seconds."""

    def __init__(self, apps: Sequence[SandboxApp]) -> None:
        self._apps = {app.app_id: app for app in apps}
        if len(self._apps) != len(apps):
            raise ValueError("two apps have the same app_id")
        self._platforms = {app.app_id: app.platform for app in apps}
        self._people: dict[str, Person] = {}  # by openid
        self._blocked: set[str] = set()

    def app(self, app_id: str) -> SandboxApp | None:
        """As it was given; `unionid` knows the platform it belongs to now."""
        return self._apps.get(app_id)

    def move_to_platform(self, app_id: str, platform: str | None) -> None:
        """Put an app into an Open Platform account, or with None into none."""
        self._platforms[app_id] = platform

    def unionid(self, app_id: str, user: str) -> str:
        """As the app sees it now, "" while it belongs to no Open Platform account."""
        platform = self._platforms[app_id]
        return unionid_of(platform, user) if platform else ""

    def begin_session(self, app_id: str, user: str, now: float) -> tuple[str, str]:
        """The user's openid and a new session_key; the former one is dead."""
        openid = openid_of(app_id, user)
        key = _new_session_key()
        self._people[openid] = Person(app_id, user, key, now + SESSION_KEY_LIFETIME_S)
        return openid, key

    def person(self, openid: str) -> Person | None:
        """Who has logged in with this openid."""
        return self._people.get(openid)

    def session_key(self, app_id: str, user: str, now: float) -> str | None:
        """The user's session_key; None before the first login and after its end."""
        person = self._people.get(openid_of(app_id, user))
        return person.session_key if person and now < person.key_ends_at else None

    def reset_session_key(self, person: Person) -> str:
        """A new session_key that ends when the former one would have."""
        person.session_key = _new_session_key()
        return person.session_key

    def expire_session_key(self, app_id: str, user: str, now: float) -> bool:
        """End the user's session_key; whether there was a live one."""
        person = self._people.get(openid_of(app_id, user))
        if person is None or now >= person.key_ends_at:
            return False
        person.key_ends_at = now
        return True

    def block(self, user: str, *, blocked: bool) -> None:
        """Make a person one of high risk in every app, or no longer."""
        if blocked:
            self._blocked.add(user)
        else:
            self._blocked.discard(user)

    def is_blocked(self, user: str) -> bool:
        return user in self._blocked


def _new_session_key() -> str:
    return base64.b64encode(secrets.token_bytes(16)).decode("ascii")

"""access_tokens: which were given, to whom, and which are still good. No HTTP here."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass

# WeChat's own figures.
TOKEN_LIFETIME_S = 7200
#: In its last 5 minutes a stable token has a successor, and both work.
OVERLAP_S = 300

# As long as WeChat allows, so that no client relies on less.
_TOKEN_CHARS = 512
_SHAPE = re.compile(r"\d{1,3}_[A-Za-z0-9_-]{16,510}")

#: How many tokens are remembered, dead ones too: enough to tell 42001 from 40001.
_MOST_TOKENS = 10_000


@dataclass(slots=True)
class _Token:
    app_id: str
    is_stable: bool
    ends_at: float
    revoked: bool = False


class AccessTokens:
    """Those of stable_token and those of the old token interface, which know nothing of
    each other. Every `now` is unix seconds."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, _Token] = OrderedDict()  # oldest first
        self._newest_stable: dict[str, str] = {}  # app_id -> token

    def stable(self, app_id: str, now: float, *, force_refresh: bool) -> tuple[str, int]:
        """A token and the whole seconds it has left, at least 300.

        The same one until its last 5 minutes, then a new one. `force_refresh`
        gives a new one and ends all before it at once.
        """
        if force_refresh:
            self._revoke(app_id, only_stable=True)
        text = self._newest_stable.get(app_id, "")
        token = self._tokens.get(text)
        if token is not None and not token.revoked and token.ends_at - now > OVERLAP_S:
            return text, int(token.ends_at - now)
        text = self._newest_stable[app_id] = self._issue(app_id, now, is_stable=True)
        return text, TOKEN_LIFETIME_S

    def plain(self, app_id: str, now: float) -> tuple[str, int]:
        """A new token; the former one of this interface is void at once."""
        for token in self._tokens.values():
            if token.app_id == app_id and not token.is_stable:
                token.revoked = True
        return self._issue(app_id, now, is_stable=False), TOKEN_LIFETIME_S

    def check(self, text: str, now: float) -> tuple[int, str | None]:
        """(errcode, app_id): 0 for a good token; the app wherever it is known."""
        if not text:
            return 41001, None
        if not _SHAPE.fullmatch(text):
            return 40014, None
        token = self._tokens.get(text)
        if token is None:
            return 40001, None
        if token.revoked:
            return 40001, token.app_id
        return 42001 if now >= token.ends_at else 0, token.app_id

    def expire(self, app_id: str, left_s: float, now: float) -> int:
        """Let no live token of the app have more than `left_s`; how many had more."""
        shortened = 0
        for token in self._tokens.values():
            if token.app_id == app_id and not token.revoked and token.ends_at > now + left_s:
                token.ends_at = now + left_s
                shortened += 1
        return shortened

    def revoke(self, app_id: str, now: float) -> int:
        """Void the app's tokens before their time; how many were good until now."""
        live = sum(
            token.app_id == app_id and not token.revoked and now < token.ends_at
            for token in self._tokens.values()
        )
        self._revoke(app_id, only_stable=False)
        return live

    def revoke_one(self, text: str) -> None:
        """Void this token, if it is one."""
        token = self._tokens.get(text)
        if token is not None:
            token.revoked = True

    def _revoke(self, app_id: str, *, only_stable: bool) -> None:
        for token in self._tokens.values():
            if token.app_id == app_id and (token.is_stable or not only_stable):
                token.revoked = True

    def _issue(self, app_id: str, now: float, *, is_stable: bool) -> str:
        prefix = f"{10 + secrets.randbelow(90)}_"
        text = prefix + secrets.token_urlsafe(_TOKEN_CHARS)[: _TOKEN_CHARS - len(prefix)]
        self._tokens[text] = _Token(app_id, is_stable, now + TOKEN_LIFETIME_S)
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)
        return text

"""Codes that work once and live 5 minutes: those of wx.login and of the phone button."""

from __future__ import annotations

import secrets
import string
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

# WeChat's own figure, for both kinds.
CODE_LIFETIME_S = 300

_ALPHANUMERIC = (string.digits + string.ascii_letters).encode("ascii")
# Random byte -> character. 62 does not divide 256; the slight bias is harmless in 31 characters.
_TO_ALPHANUMERIC = bytes(_ALPHANUMERIC[byte % len(_ALPHANUMERIC)] for byte in range(256))


@dataclass(frozen=True, slots=True)
class Phone:
    """A number without its country code, and the country code, both digits."""

    number: str
    country_code: str = "86"


@dataclass(slots=True)
class Code:
    """What a code stands for; `phone` for those of the phone button only."""

    app_id: str
    user: str
    minted_at: float
    phone: Phone | None = None
    used: bool = False


def new_login_code() -> str:
    """32 characters that begin with 0, as wx.login gives them."""
    return "0" + secrets.token_bytes(31).translate(_TO_ALPHANUMERIC).decode("ascii")


def new_phone_code() -> str:
    """64 lower-case hex characters, as the phone button gives them."""
    return secrets.token_hex(32)


class OneTimeCodes:
    """Codes of one kind. Those of different kinds never pass for each other."""

    def __init__(self, new_code: Callable[[], str]) -> None:
        self._new_code = new_code
        self._codes: OrderedDict[str, Code] = OrderedDict()  # oldest first

    def mint(self, app_id: str, user: str, now: float, phone: Phone | None = None) -> str:
        self._forget_expired(now)
        code = self._new_code()
        self._codes[code] = Code(app_id, user, now, phone)
        return code

    def find(self, code: str, app_id: str, now: float) -> Code | None:
        """What the code stands for, used or not; None when expired or of another app."""
        found = self._codes.get(code)
        if found is None or found.app_id != app_id or now - found.minted_at >= CODE_LIFETIME_S:
            return None
        return found

    def _forget_expired(self, now: float) -> None:
        while self._codes:
            oldest = next(iter(self._codes.values()))
            if now - oldest.minted_at < CODE_LIFETIME_S:
                return
            self._codes.popitem(last=False)

"""The knobs that make this WeChat nasty: their names, their limits, their file.

What they do to a call is decided in mischief_maker.py and done in endpoint.py.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

#: WeChat's own figure from an old page: code2Session, per user.
EXCHANGES_A_MINUTE = 100

# Our limits: beyond any use.
MAX_SLOW_MS = 600_000
MAX_QUOTA = 1_000_000
MAX_SEED = 2**63 - 1

_RANGES: Mapping[str, tuple[int, int]] = {
    "slow_ms": (0, MAX_SLOW_MS),
    "slow_random_ms": (0, MAX_SLOW_MS),
    "minute_quota": (0, MAX_QUOTA),
    "seed": (0, MAX_SEED),
}


class MischiefRefused(ValueError):
    """A knob that there is not, or a value it cannot have. The text names the knob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mischief:
    """All knobs; by default none does anything. Raises MischiefRefused.

    A percentage is the chance of each call of each interface by itself, unless
    said otherwise. "Nothing done" means that no code was burnt and no token
    given; "done" means that WeChat did what was asked and the answer is lost.
    """

    #: Which sequence of faults is played; chosen by chance and logged when None.
    seed: int | None = None

    # Instead of an answer. Nothing done.
    #: The connection is cut.
    cut_before_percent: float = 0
    #: errcode -1.
    busy_percent: float = 0
    #: HTTP 502 with a page of HTML.
    html_502_percent: float = 0

    # Instead of the answer. Done.
    #: The connection is cut.
    cut_after_percent: float = 0
    #: errcode -1.
    busy_after_percent: float = 0
    #: HTTP 200 with an empty body.
    empty_percent: float = 0
    #: HTTP 200 with the beginning of the JSON.
    truncated_percent: float = 0
    #: HTTP 200 with random bytes.
    garbage_percent: float = 0

    # Late, whatever it is.
    #: How many calls are held back, once slow_ms or slow_random_ms is above 0.
    slow_percent: float = 100
    #: Milliseconds.
    slow_ms: int = 0
    #: Up to so many milliseconds more, by chance.
    slow_random_ms: int = 0

    # Refusals that WeChat gives in earnest.
    #: How many logins a user has in a minute before 45011; code2Session only.
    minute_quota: int = EXCHANGES_A_MINUTE
    #: How many *users* are blocked (40226), always the same ones; code2Session only.
    blocked_percent: float = 0
    #: In how many calls with an access_token it is revoked first (40001 from then on).
    revoked_token_percent: float = 0

    # The answer is right and looks different.
    #: Errors end in `, hints: [ req_id: … ]`, as before 2021.
    legacy_errmsg_percent: float = 0
    #: Successes name their errcode, 0, where they need not.
    errcode_0_percent: float = 0

    def __post_init__(self) -> None:
        for name in KNOBS:
            _check(name, getattr(self, name))

    def changed(self) -> dict[str, float]:
        """The knobs that are not as by default, but for the seed."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name != "seed" and getattr(self, field.name) != field.default
        }


KNOBS = tuple(field.name for field in fields(Mischief))


def mischief_of(knobs: Mapping[str, object]) -> Mischief:
    """The knobs by name; those not named are as by default. Raises MischiefRefused."""
    for name, value in knobs.items():
        if name not in KNOBS:
            raise MischiefRefused(f"{name}: no such knob; there are {', '.join(KNOBS)}")
        _check(name, value)
    return Mischief(**knobs)  # type: ignore[arg-type]  # each was checked


def read_mischief(path: Path) -> dict[str, object]:
    """The knobs of a TOML file, checked. Raises MischiefRefused, which names the file."""
    try:
        knobs = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise MischiefRefused(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise MischiefRefused(f"{path} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise MischiefRefused(f"{path} is not TOML: {error}") from None
    try:
        mischief_of(knobs)
    except MischiefRefused as refusal:
        raise MischiefRefused(f"{path}: {refusal}") from None
    return knobs


def _check(name: str, value: object) -> None:
    if name == "seed" and value is None:
        return
    if name in _RANGES:
        least, most = _RANGES[name]
        if type(value) is not int or not least <= value <= most:
            raise MischiefRefused(f"{name}: must be a whole number from {least} to {most}")
    # Not bool, which is an int; NaN is no number from 0 to 100 either.
    elif type(value) not in (int, float) or not 0 <= value <= 100:  # type: ignore[operator]
        raise MischiefRefused(f"{name}: must be a percentage, a number from 0 to 100")

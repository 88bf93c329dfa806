"""`wxauth callers rotate`, `set-roles` and `revoke`: changes of a caller that is there."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from wxauth_server.callers.caller import Caller, CallerBook
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.callers.tokens import CALLER_PREFIX, new_token
from wxauth_server.cli.callers_options import Output, Roles, say, what_next, where
from wxauth_server.cli.callers_token import hand_over
from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, load
from wxauth_server.cli.output import CommandFailed, readable
from wxauth_server.clock import SystemClock
from wxauth_server.config import Configuration

Name = Annotated[str, typer.Argument(metavar="NAME", help="The caller's name.", show_default=False)]
_GOOD_FOR = re.compile(r"(\d{1,5})([smhd])")
_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
#: How long a token that was replaced may stay good: longer is a mistyped time, and a token
#: that nobody looks after.
_MOST_GOOD_FOR_DAYS = 90


def rotate(
    name: Name,
    old_good_for: Annotated[
        str,
        typer.Option(
            "--old-good-for",
            metavar="TIME",
            help="How long the tokens it has now stay good: 30m, 12h, 7d, at most 90d. 0 ends them "
            "at once.",
        ),
    ] = "1d",
    output: Output = None,
    as_json: JsonObject = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
) -> None:
    """Print a new token for a caller, once; the old one stays good for a day.

    So the service can be given the new one without a gap. After a leak:

    wxauth callers rotate orders --old-good-for 0
    """
    good_for_ms = _duration_ms(old_good_for)
    configuration = load(config, data)
    now_ms = SystemClock().now_ms()
    token = new_token(CALLER_PREFIX)
    with changing_callers(configuration.callers_file) as file:
        caller = _find(file.book, name, configuration)
        if caller.certificate_names:
            raise CommandFailed(
                f"{name} has no token, it proves itself by its certificate: exchange the files of "
                "that. For other names of a certificate, add another caller and revoke this one"
            )
        old_end_ms = now_ms + good_for_ms
        changed = caller.with_new_token(token, now_ms=now_ms, old_end_ms=old_end_ms)
        book = file.book.with_caller(changed).without_ended_tokens(now_ms)
        hand_over(token, changed, file, book, output=output, as_json=as_json)
    if good_for_ms:
        old = f"What it had before is good until {readable(old_end_ms)} UTC at the latest."
    else:
        old = "What it had before is no good any more."
    say(f"{name} has a new token. {old}", where(token, output), what_next(configuration))


def set_roles(
    name: Name, roles: Roles, config: ConfigFile = None, data: DataDirectory = None
) -> None:
    """Give a caller these roles, and no others; its token stays good."""
    configuration = load(config, data)
    now_ms = SystemClock().now_ms()
    with changing_callers(configuration.callers_file) as file:
        changed = _find(file.book, name, configuration).with_roles(roles)
        file.replace(file.book.with_caller(changed).without_ended_tokens(now_ms))
    say(f"{name} may call as {' and '.join(sorted(changed.roles))}.", what_next(configuration))


def revoke(name: Name, config: ConfigFile = None, data: DataDirectory = None) -> None:
    """Let a caller call no more: all its tokens, or its certificate, are refused.

    Calls on connections that are open are refused too. It does not ask.
    """
    configuration = load(config, data)
    now_ms = SystemClock().now_ms()
    with changing_callers(configuration.callers_file) as file:
        _find(file.book, name, configuration)
        file.replace(file.book.without(name).without_ended_tokens(now_ms))
        left = file.book.callers
    say(
        f"{name} is revoked.",
        "" if left else "No caller is left: a server that requires callers lets nobody in.",
        what_next(configuration),
    )


def _duration_ms(text: str) -> int:
    if text == "0":
        return 0
    found = _GOOD_FOR.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"--old-good-for: {text!r} is no time: write 30m, 12h, 7d or 0")
    good_for_ms = int(found[1]) * _UNITS_MS[found[2]]
    if good_for_ms > _MOST_GOOD_FOR_DAYS * _UNITS_MS["d"]:
        raise typer.BadParameter(
            f"--old-good-for: {text} is longer than {_MOST_GOOD_FOR_DAYS}d: a token that was "
            "replaced is to end"
        )
    return good_for_ms


def _find(book: CallerBook, name: str, configuration: Configuration) -> Caller:
    caller = book.named(name)
    if caller is None:
        raise CommandFailed(
            f"{configuration.callers_file} names no caller {name!r}: wxauth callers list shows "
            "those there are"
        )
    return caller

"""`wxauth sandbox`: a WeChat for development and CI."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wxauth_server.cli.options import ConfigFile, load
from wxauth_server.cli.output import CommandFailed
from wxauth_server.cli.running import serve_until_signal, start_log
from wxauth_server.config import SANDBOX_LISTEN, Configuration

if TYPE_CHECKING:
    from wechat_sandbox import Mischief

log = logging.getLogger("wxauth.command")


@dataclass(frozen=True)
class _App:
    """A mini-program to play WeChat for; made before the sandbox is imported."""

    app_id: str
    secret: str = dataclasses.field(repr=False)
    platform: str | None = None


_PANEL = "Mischief (off by default; docs/sandbox.md says what each does)"


def _knob(metavar: str, text: str, most: int | None = None) -> Any:
    return typer.Option(
        metavar=metavar,
        help=text,
        min=0,
        max=most,
        show_default=False,
        rich_help_panel=_PANEL,
    )


def _percent(text: str) -> Any:
    return _knob("PERCENT", text, most=100)


def sandbox(
    context: typer.Context,
    config: ConfigFile = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."
        ),
    ] = SANDBOX_LISTEN,
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            metavar="APPID:SECRET",
            help="A mini-program to play WeChat for, once for each. Default: those of the "
            "configuration, else the demo one. Made-up secrets only: a process list shows them.",
            show_default=False,
        ),
    ] = None,
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform",
            metavar="APPID:NAME",
            help="The Open Platform account of a mini-program, once for each. Users have one "
            "unionid in all apps of an account, and none in an app without.",
            show_default=False,
        ),
    ] = None,
    mischief: Annotated[
        Path | None,
        typer.Option(
            "--mischief",
            metavar="FILE",
            help="TOML file with knobs, such as deploy/mischief.example.toml. "
            "The flags below override it.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        _knob("N", "Play this sequence of faults again. Default: a new one, logged."),
    ] = None,
    cut_before_percent: Annotated[
        float | None, _percent("Cut the connection, nothing done.")
    ] = None,
    busy_percent: Annotated[float | None, _percent("Answer -1 (busy), nothing done.")] = None,
    html_502_percent: Annotated[
        float | None, _percent("Answer 502 with HTML, nothing done.")
    ] = None,
    cut_after_percent: Annotated[
        float | None, _percent("Do it (the code is burnt), then cut the connection.")
    ] = None,
    busy_after_percent: Annotated[float | None, _percent("Do it, then answer -1.")] = None,
    empty_percent: Annotated[
        float | None, _percent("Do it, then answer with an empty body.")
    ] = None,
    truncated_percent: Annotated[
        float | None, _percent("Do it, then answer with half of the JSON.")
    ] = None,
    garbage_percent: Annotated[
        float | None, _percent("Do it, then answer with random bytes.")
    ] = None,
    slow_percent: Annotated[
        float | None, _percent("How many answers are late, where they are. Default: 100.")
    ] = None,
    slow_ms: Annotated[
        int | None, _knob("MS", "Hold answers back by this long; what was asked is done first.")
    ] = None,
    slow_random_ms: Annotated[
        int | None, _knob("MS", "And by up to this long more, by chance.")
    ] = None,
    minute_quota: Annotated[
        int | None, _knob("N", "Logins of a user in a minute before 45011. Default: 100.")
    ] = None,
    blocked_percent: Annotated[
        float | None, _percent("How many users are blocked: 40226, always the same users.")
    ] = None,
    revoked_token_percent: Annotated[
        float | None, _percent("Revoke the access_token that a call comes with.")
    ] = None,
    legacy_errmsg_percent: Annotated[float | None, _percent("Write errmsg as before 2021.")] = None,
    errcode_0_percent: Annotated[
        float | None, _percent('Say "errcode":0 in every success.')
    ] = None,
) -> None:
    """Run a WeChat for development and CI until SIGINT or SIGTERM.

    It logs anybody in as anybody: keep it off the internet.

    Plays /sns/jscode2session (code2Session), /cgi-bin/stable_token, /cgi-bin/token,
    /wxa/checksession, /wxa/resetusersessionkey and /wxa/business/getuserphonenumber.
    What a phone would do, a test does over /_control: a POST of
    {"appid": "…", "user": "alice"} to /_control/codes is alice's wx.login.

    All mischief is off by default. What is on is logged, with the seed that
    repeats it.
    """
    # The knobs have the names of Mischief's fields, so they are read from the
    # context, all alike.
    configuration = load(config)
    start_log(configuration)
    known = _known_apps(apps or [], platforms or [], configuration)
    serve_until_signal(_sandbox(listen, known, mischief, context.params))


@contextlib.asynccontextmanager
async def _sandbox(
    address: str,
    apps: Sequence[_App],
    mischief_file: Path | None,
    flags: Mapping[str, Any],
) -> AsyncIterator[None]:
    from wechat_sandbox import SandboxApp, create_app
    from wechat_sandbox.server import build_server
    from wxauth_server.cli.http_part import HttpPart, listen

    knobs = _knobs(mischief_file, flags)
    listener = listen("sandbox", address)
    wechat = create_app(
        [SandboxApp(app.app_id, app.secret, app.platform) for app in apps], mischief=knobs
    )
    part = HttpPart("sandbox", build_server(wechat).config, listener)
    await part.start()
    log.info(
        "ready",
        extra={
            "part": "sandbox",
            "address": "{}:{}".format(*listener.getsockname()),
            "apps": [app.app_id for app in apps],
        },
    )
    try:
        yield
    finally:
        await part.stop()


def _knobs(mischief_file: Path | None, flags: Mapping[str, Any]) -> Mischief:
    """What the file says, and what the flags of the same names say above it."""
    from wechat_sandbox import MischiefRefused, mischief_of, read_mischief
    from wechat_sandbox.mischief import KNOBS

    try:
        knobs = read_mischief(mischief_file) if mischief_file else {}
        given = {name: flags[name] for name in KNOBS if flags[name] is not None}
        return mischief_of(knobs | given)
    except MischiefRefused as refusal:
        raise CommandFailed(f"mischief: {refusal}") from None


def _known_apps(
    apps: Sequence[str], platforms: Sequence[str], configuration: Configuration
) -> list[_App]:
    """The apps of the flags, else those of the configuration; platforms of flags go before."""
    if apps:
        secrets = _pairs("--app", "APPID:SECRET", apps)
        known = {app_id: _App(app_id, secret) for app_id, secret in secrets.items()}
    else:
        known = {
            app.app_id: _App(app.app_id, app.secret, app.open_platform or None)
            for app in configuration.served_apps()
        }
    for app_id, platform in _pairs("--platform", "APPID:NAME", platforms).items():
        if app_id not in known:
            raise typer.BadParameter(f"there is no app {app_id}", param_hint="--platform")
        known[app_id] = dataclasses.replace(known[app_id], platform=platform)
    return list(known.values())


def _pairs(flag: str, form: str, given: Sequence[str]) -> dict[str, str]:
    parsed: dict[str, str] = {}
    for text in given:
        app_id, colon, value = text.partition(":")
        if not (app_id and colon and value):
            raise typer.BadParameter(f"write it as {form}", param_hint=flag)
        if app_id in parsed:
            raise typer.BadParameter(f"{app_id} is there twice", param_hint=flag)
        parsed[app_id] = value
    return parsed

"""WeChat: whether it is reached, and takes the AppSecrets, with a call that burns nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

from wxauth_server.apps import App
from wxauth_server.doctor.clock import compare
from wxauth_server.doctor.findings import (
    TIMEOUT_S,
    Check,
    Finding,
    Installation,
    Status,
    ok,
    problem,
    skipped,
    warning,
)
from wxauth_server.outbound.transport import Answer, Failure, Transport
from wxauth_server.settings import ConfigurationError
from wxauth_server.wechat.answers import Errcode, Fields, Nonsense, NoResult, read_fields
from wxauth_server.wechat.client import CODE_TO_SESSION_PATH
from wxauth_server.wechat.errcodes import BUSY

_CHECK = Check.WECHAT_APP

# No code of wx.login: they have 32 characters, all of them letters and digits.
_NO_CODE = "wxauth-doctor"

#: Apps that are asked about at the same time.
_AT_ONCE = 8

# What WeChat says of a code only after it took AppId and AppSecret.
_ABOUT_THE_CODE = frozenset({40029, 40163, 40226})

_COPY_IT = (
    "copy the AppSecret from the WeChat admin console (development settings) into app_secret_file "
    "or app_secret, and restart the server"
)
_REFUSALS = {
    40013: (
        "WeChat does not know this AppId",
        "correct app_id: the WeChat admin console has it in the development settings",
    ),
    40125: ("the AppSecret is wrong, or was reset", _COPY_IT),
    40243: ("the AppSecret is frozen", "unfreeze it in the WeChat admin console"),
    40164: (
        "WeChat refuses the address of this machine",
        "add it to the list of addresses in the WeChat admin console",
    ),
    48001: (
        "the AppId is no mini-program",
        "give the AppId of a mini-program: official accounts and others have AppIds too",
    ),
}


def check_wechat(installation: Installation) -> Iterator[Finding]:
    configuration = installation.configuration
    try:
        apps = configuration.served_apps()
    except ConfigurationError:
        apps = ()
    if not apps:
        yield skipped(_CHECK, "an AppSecret cannot be read")
        yield skipped(Check.CLOCK_WECHAT, "WeChat was not asked")
        return
    transport = Transport(
        configuration.wechat.base_url,
        connect_timeout_s=TIMEOUT_S,
        read_timeout_s=TIMEOUT_S,
        connections=_AT_ONCE,
    )
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            asked = list(pool.map(lambda app: _ask(installation, transport, app), apps))
    finally:
        transport.close()
    for finding, _ in asked:
        yield finding
    # The one that is worst: they all speak of the same two clocks.
    clocks = [clock for _, clock in asked if clock is not None]
    order = [Status.PROBLEM, Status.WARNING, Status.OK, Status.SKIPPED]
    yield min(
        clocks,
        key=lambda clock: order.index(clock.status),
        default=skipped(Check.CLOCK_WECHAT, "WeChat does not answer"),
    )


def _ask(
    installation: Installation, transport: Transport, app: App
) -> tuple[Finding, Finding | None]:
    """What WeChat says of the app, and of the clock."""
    query = {
        "appid": app.app_id,
        "secret": app.secret,
        "js_code": _NO_CODE,
        "grant_type": "authorization_code",
    }
    before_ms = installation.clock.now_ms()
    answer = transport.send(CODE_TO_SESSION_PATH, urlencode(query), TIMEOUT_S)
    after_ms = installation.clock.now_ms()
    clock = compare(before_ms, after_ms, answer.date) if isinstance(answer, Answer) else None
    return _judge(installation, app.app_id, read_fields(answer)), clock


def _judge(installation: Installation, app_id: str, answer: Fields | NoResult) -> Finding:
    if isinstance(answer, Failure):
        return _not_reached(installation, answer)
    if isinstance(answer, Errcode):
        return _refused(app_id, answer.number)
    what = answer.what if isinstance(answer, Nonsense) else "it takes no code for one"
    return problem(
        _CHECK,
        f"{app_id}: what answers at {installation.configuration.wechat.base_url} is not WeChat "
        f"({what})",
        "correct wechat.base_url, or look at what is between this machine and WeChat",
    )


def _refused(app_id: str, errcode: int) -> Finding:
    if errcode in _ABOUT_THE_CODE:
        return ok(_CHECK, f"{app_id}: WeChat is reached and takes the AppSecret")
    if errcode in _REFUSALS:
        what, what_to_do = _REFUSALS[errcode]
        return problem(_CHECK, f"{app_id}: {what} (errcode {errcode})", what_to_do)
    what = {
        BUSY: "WeChat is busy",
        45009: "the quota of the day is used up",
        45011: "the quota of the minute is used up",
    }.get(errcode, "WeChat answers something unknown")
    return warning(
        _CHECK,
        f"{app_id}: {what} (errcode {errcode}), so nothing is known of the AppSecret",
        "run this again in a few minutes; WeChat's documentation of code2Session lists errcodes",
    )


def _not_reached(installation: Installation, failure: Failure) -> Finding:
    url = installation.configuration.wechat.base_url
    if installation.configuration.is_development:
        return warning(
            _CHECK,
            f"the sandbox at {url} does not answer",
            "wxauth sandbox runs it alone, wxauth dev with everything else",
        )
    if failure.error == "SSLError":
        what = "shows a certificate that is not trusted"
        what_to_do = "look for a proxy that opens TLS; and at the clock: timedatectl status"
    elif failure.error == "NameResolutionError":
        what = "has a name that cannot be resolved"
        what_to_do = "look at the name servers of this machine: /etc/resolv.conf"
    elif failure.error == "NewConnectionError":
        what = "refuses the connection"
        what_to_do = "let this machine connect to it: firewall, routes; no proxy is used"
    elif failure.timed_out:
        what = f"does not answer within {TIMEOUT_S:.0f} s"
        what_to_do = "let this machine connect to it: firewall, routes; no proxy is used"
    else:
        what = "ends the connection without an answer"
        what_to_do = "look at what is between this machine and WeChat, and run this again"
    return problem(_CHECK, f"{url} {what}", what_to_do)

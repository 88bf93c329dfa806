"""`wxauth callers list`."""

from __future__ import annotations

import sys

from rich.text import Text

from wxauth_server.callers.caller import Caller
from wxauth_server.callers.callers_file import load_callers
from wxauth_server.cli.options import AsJson, ConfigFile, DataDirectory, load
from wxauth_server.cli.output import print_json, print_table, readable
from wxauth_server.clock import SystemClock, iso

_NO_PROOF = "it has no good token: run wxauth callers rotate"


def list_all(
    as_json: AsJson = False, config: ConfigFile = None, data: DataDirectory = None
) -> None:
    """List the callers, their roles and what proves them. Times are in UTC.

    Tokens are not shown: only the callers have them. One that was rotated is good
    for a while still, so that the service can be given the new one.
    """
    configuration = load(config, data)
    path = configuration.callers_file
    callers = load_callers(path).callers
    now_ms = SystemClock().now_ms()
    if as_json:
        print_json(_fields(caller, now_ms) for caller in callers)
    else:
        print_table(
            ("NAME", "ROLES", "PROVES ITSELF BY", "CREATED"),
            (
                (
                    caller.name,
                    ", ".join(sorted(caller.roles)),
                    _proof(caller, now_ms),
                    readable(caller.created_ms),
                )
                for caller in callers
            ),
        )
    if not callers:
        what = "names no callers" if path.exists() else "does not exist yet"
        print(f"{path} {what}.", file=sys.stderr)


def _fields(caller: Caller, now_ms: int) -> dict[str, object]:
    return {
        "name": caller.name,
        "roles": sorted(caller.roles),
        "tokens": [
            {"created_at": iso(token.created_ms), "ends_at": iso(token.ends_ms)}
            for token in caller.good_tokens(now_ms)
        ],
        "certificate_names": list(caller.certificate_names),
        "created_at": iso(caller.created_ms),
        "warning": None if caller.can_prove_itself(now_ms) else _NO_PROOF,
    }


def _proof(caller: Caller, now_ms: int) -> Text:
    if not caller.can_prove_itself(now_ms):
        return Text(_NO_PROOF, style="red")
    if caller.certificate_names:
        return Text(f"certificate of {' or '.join(caller.certificate_names)}")
    return Text(
        "; ".join(
            f"token of {readable(token.created_ms)}"
            + (f", good until {readable(token.ends_ms)}" if token.ends_ms else "")
            for token in reversed(caller.good_tokens(now_ms))
        )
    )

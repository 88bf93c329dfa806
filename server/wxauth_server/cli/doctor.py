"""`wxauth doctor`: what is wrong with this installation, and what to do about it."""

from __future__ import annotations

import itertools
import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from wxauth_server.cli.options import ConfigFile, DataDirectory, JsonObject, load
from wxauth_server.cli.output import console, print_json_object
from wxauth_server.clock import SystemClock
from wxauth_server.doctor.findings import Finding, Status

_MARKS = {
    Status.OK: Text("✓", style="green"),
    Status.WARNING: Text("!", style="bold yellow"),
    Status.PROBLEM: Text("✗", style="bold red"),
    Status.SKIPPED: Text("-", style="dim"),
}
#: By the part of a check's name before its dot.
_TITLES = {
    "configuration": "Configuration",
    "keyring": "Key ring",
    "database": "Database",
    "clock": "Clock",
    "grpc": "Certificate of the gRPC server",
    "gateway": "Certificate of the gateway",
    "credentials": "Credentials of the gateway",
    "callers": "Callers",
    "server": "From the gateway to the server",
    "wechat": "WeChat",
    "account_sources": "Account sources",
}


def doctor(
    config: ConfigFile = None,
    data: DataDirectory = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Connect to nothing: no server, PostgreSQL, WeChat or source."
        ),
    ] = False,
    as_json: JsonObject = False,
) -> None:
    """Look for everything that can be wrong here, and say what to do.

    Changes nothing, beside a running server or without one. Run it as wxauth's
    user, with the server's configuration and variables. Exit status 0: no
    problem, though there may be warnings; 1: there is a problem.
    """
    from cryptography.utils import CryptographyDeprecationWarning

    from wxauth_server.doctor.examination import examine

    # Of authorities whom others trust: not ours to mend.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)

    findings = examine(
        lambda: load(config, data),
        SystemClock(),
        offline=offline,
        options=_given(config, data),
    )
    is_well = not any(finding.status is Status.PROBLEM for finding in findings)
    if as_json:
        print_json_object({"ok": is_well, "findings": [_fields(finding) for finding in findings]})
    else:
        _print(findings)
    if not is_well:
        raise typer.Exit(1)


def _given(config: Path | None, data: Path | None) -> str:
    named = {"--config": config, "--data": data}
    return shlex.join(
        word for option, path in named.items() if path is not None for word in (option, str(path))
    )


def _fields(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.check.value,
        "status": finding.status.value,
        "what": finding.what,
        "what_to_do": finding.what_to_do,
    }


def _print(findings: Sequence[Finding]) -> None:
    out = console()
    for group, members in itertools.groupby(
        findings, key=lambda finding: finding.check.value.partition(".")[0]
    ):
        out.print(Text(_TITLES[group], style="bold"))
        for finding in members:
            dim = "dim" if finding.status is Status.SKIPPED else ""
            out.print(Text("  ") + _MARKS[finding.status] + Text(f" {finding.what}", style=dim))
            if finding.what_to_do:
                out.print(Text(f"    → {finding.what_to_do}", style="cyan"))
    count = Counter(finding.status for finding in findings)
    problems, warnings = count[Status.PROBLEM], count[Status.WARNING]
    style = "bold red" if problems else "bold yellow" if warnings else "bold green"
    out.print()
    out.print(
        Text(
            f"{_several(problems, 'problem')}, {_several(warnings, 'warning')}, "
            f"{count[Status.OK]} in order, {count[Status.SKIPPED]} skipped",
            style=style,
        )
    )


def _several(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"

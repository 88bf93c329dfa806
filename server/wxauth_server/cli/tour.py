"""What `wxauth dev` prints when it is ready: where everything is and what to try.

The commands are for a POSIX shell with curl, sed and grpcurl. They are printed
flush left and unbroken, so that they can be copied from a terminal.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from wxauth_server.cli.development import DEMO_ID, DEMO_PASSWORD, DEMO_USERNAME
from wxauth_server.cli.output import console
from wxauth_server.config import DEMO_APP_ID


@dataclass(frozen=True)
class Addresses:
    """Where the parts listen. URLs without a slash at the end; `grpc` is host:port."""

    sandbox: str
    grpc: str
    gateway: str


@dataclass(frozen=True)
class Step:
    """Something to try. Each line of `commands` is a whole shell command."""

    title: str
    commands: tuple[str, ...]


def steps(addresses: Addresses) -> list[Step]:
    """The tour, in its order: later steps use the shell variables of earlier ones."""
    mint = (
        f"CODE=$(curl -s {addresses.sandbox}/_control/codes"
        f""" -d '{{"appid":"{DEMO_APP_ID}","user":"alice"}}' | {_extract("code")})"""
    )
    log_in = (
        f"ANSWER=$(curl -s {addresses.gateway}/login -H 'Content-Type: application/json'"
        """ -d '{"code":"'$CODE'"%s}'); echo "$ANSWER\""""
    )
    remember = f"""SID=$(echo "$ANSWER" | {_extract("sessionId")})"""
    validate = (
        f"""{_grpcurl()} -plaintext -d '{{"session_id":"'$SID'"}}' {addresses.grpc}"""
        " wxauth.v1.AuthService/ValidateSession"
    )
    return [
        Step("wx.login in the mini-program: the sandbox gives alice a code", (mint,)),
        Step(
            f"The first login binds the WeChat user to the account {DEMO_USERNAME}",
            (
                log_in % f',"username":"{DEMO_USERNAME}","password":"{DEMO_PASSWORD}"',
                remember,
            ),
        ),
        Step(
            "From now on the login is silent: a new code is enough", (mint, log_in % "", remember)
        ),
        Step(
            "What internal services ask: whose session is this",
            (
                validate,
                f'curl -s -H "Authorization: Bearer $SID" {addresses.gateway}/session; echo',
            ),
        ),
    ]


def print_tour(addresses: Addresses, data: Path, *, first_run: bool) -> None:
    """Print the addresses and the steps on standard output."""
    out = console()
    out.print()
    out.print(Text("wxauth is ready", style="bold green"))
    for name, where in (
        ("gateway", f"{addresses.gateway}  (documentation: {addresses.gateway}/docs)"),
        ("gRPC", addresses.grpc),
        ("sandbox", f"{addresses.sandbox}  (plays WeChat for {DEMO_APP_ID})"),
        ("data", str(data) + ("  (made just now)" if first_run else "")),
        ("account", f"{DEMO_USERNAME} / {DEMO_PASSWORD}  (id {DEMO_ID})"),
    ):
        out.print(Text(f"  {name:8} ", style="bold") + Text(where), soft_wrap=True)
    out.print("\nTry it in another terminal:")
    for number, step in enumerate(steps(addresses), 1):
        # A comment, so that the whole block can be pasted at once. Without quotes:
        # zsh, when one types into it, does not know comments.
        out.print(Text(f"\n# {number}. {step.title}", style="dim"), soft_wrap=True)
        for command in step.commands:
            out.print(Text(command, style="cyan"), soft_wrap=True)
    out.print("\nCtrl-C stops everything.")


def _extract(key: str) -> str:
    return rf"""sed -n 's/.*"{key}": *"\([^"]*\)".*/\1/p'"""


def _grpcurl() -> str:
    """grpcurl as this machine's shell finds it: on the PATH, else beside our Python."""
    beside = Path(sys.executable).with_name("grpcurl")
    if shutil.which("grpcurl") or not os.access(beside, os.X_OK):
        return "grpcurl"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))

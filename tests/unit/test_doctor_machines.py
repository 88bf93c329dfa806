"""wxauth doctor on machines with one of the two parts, and what it says serve would refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.certificates import Authority
from tests.unit.configured import app, nothing_set
from tests.unit.examined import DATA, Report, examined, make_installation
from wxauth_server.callers.caller import Caller, CallerBook, CallerToken, Role
from wxauth_server.callers.callers_file import changing_callers
from wxauth_server.doctor.findings import NO_GATEWAY, NO_SERVER, Check, Status
from wxauth_server.transport_security import DEBUGGING

__all__ = ["nothing_set"]

START = Check.CONFIGURATION_START
OF_GATEWAY = (Check.CREDENTIALS_TOKEN, Check.CREDENTIALS_TRUST, Check.SERVER_CONNECTION)
#: Nothing of this leaves the machine.
WECHAT = '[wechat]\nbase_url = "http://127.0.0.1:9"\n'


@pytest.fixture
def grpc(nothing_set: Path) -> str:
    """The table of a server that others reach, whose certificate is not for 127.0.0.1."""
    issued = Authority(Path()).issue("wxauth.internal")
    return (
        '[grpc]\nlisten = "0.0.0.0:50051"\n'
        f'[grpc.tls]\ncertificate_file = "{issued.certificate}"\nkey_file = "{issued.key}"\n'
    )


def add_gateway() -> None:
    caller = Caller("gateway", frozenset(Role), 1, (CallerToken("0" * 64, 1),))
    DATA.mkdir(0o700, exist_ok=True)
    with changing_callers(DATA / "callers.json") as file:
        file.replace(CallerBook([caller]))


def problems(report: Report) -> set[Check]:
    return {one.check for one in report.findings if one.status is Status.PROBLEM}


def of_gateway(report: Report) -> list[str]:
    return [report.only(check).what for check in OF_GATEWAY]


# --- One part ------------------------------------------------------------------------


def test_the_server_alone(grpc: str) -> None:
    make_installation()
    add_gateway()
    report = examined(app() + grpc + WECHAT, offline=False)
    assert of_gateway(report) == [NO_GATEWAY] * 3
    assert problems(report) == {Check.WECHAT_APP}, "which is not reached from a test"


def test_the_server_alone_with_the_gateways_defaults_written_out(grpc: str) -> None:
    """As deploy/wxauth.example.toml has them."""
    gateway = '[gateway]\nserver = "127.0.0.1:50051"\nlisten = "127.0.0.1:8080"\n'
    assert of_gateway(examined(app() + grpc + gateway + WECHAT, offline=False)) == [NO_GATEWAY] * 3


@pytest.mark.parametrize(
    "text",
    [
        "",
        '[gateway]\nserver = "127.0.0.1:9"\n',
        '[gateway.credentials]\nca_file = "ca.pem"\n',
        "[grpc]\nreflection = true\n",
    ],
)
def test_a_gateway_that_is_looked_at(text: str) -> None:
    report = examined(app() + text)
    assert NO_GATEWAY not in {finding.what for finding in report.findings}


def test_a_gateway_of_the_variables(grpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    token = CANARY.keep("wxc_" + "v" * 43)
    monkeypatch.setenv("WXAUTH_TOKEN", token)
    report = examined(app() + grpc)
    assert report.only(Check.CREDENTIALS_TOKEN).status is Status.OK


def test_another_port_is_no_default() -> None:
    report = examined(app() + '[grpc]\nlisten = "127.0.0.1:50052"\n' + WECHAT, offline=False)
    assert of_gateway(report) == [NO_GATEWAY] * 3


def test_the_gateway_alone(grpc: str) -> None:
    """With the file of both, as dev-ca prints it."""
    token = Path("gateway.token")
    token.touch(0o600)
    token.write_text(CANARY.keep("wxc_" + "g" * 43))
    report = examined(
        f'{grpc}[gateway]\nserver = "wxauth.internal:50051"\n[gateway.credentials]\n'
        f'ca_file = "ca.pem"\ntoken_file = "{token}"\n'
    )
    assert problems(report) == set()
    assert report.only(Check.CALLERS_FILE).what == NO_SERVER
    assert report.only(START).status is Status.OK
    assert report.only(Check.CREDENTIALS_TRUST).status is Status.OK

    DATA.mkdir(0o700)  # now something of a server is here
    here = examined(grpc + '[gateway]\nserver = "wxauth.internal:50051"\n')
    assert {Check.CALLERS_FILE, START} <= problems(here)


# --- What serve refuses --------------------------------------------------------------


def starts(report: Report) -> list[str]:
    return [finding.what for finding in report.of(START) if finding.status is Status.PROBLEM]


def test_what_would_start(grpc: str) -> None:
    add_gateway()
    assert examined(app() + grpc).only(START).status is Status.OK
    assert examined().only(START).status is Status.OK


def test_the_demo_mini_program_off_loopback(grpc: str) -> None:
    add_gateway()
    [what] = starts(examined(grpc))
    assert what.startswith("wxauth serve refuses to start: grpc.listen: 0.0.0.0:50051 is not")
    assert "give [[apps]]" in what


def test_each_thing_that_is_missing(grpc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUGGING[0], "1")
    Path("wxauth.internal.key").chmod(0o644)
    gateway = '[gateway]\nlisten = "0.0.0.0:8080"\nplain_http = true\n'
    parts = (
        "wxauth serve refuses to start: wxauth.internal.key",
        "callers.json does not exist",
        "give [[apps]]",
        f"wxauth serve refuses to start: {DEBUGGING[0]}",
        f"wxauth gateway refuses to start: {DEBUGGING[0]}",
    )
    found = starts(examined(grpc + gateway))
    assert len(found) == len(parts)
    for what, part in zip(found, parts, strict=True):
        assert part in what

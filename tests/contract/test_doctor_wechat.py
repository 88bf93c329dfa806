"""wxauth doctor: WeChat, as the sandbox and as what a sandbox cannot be."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.running_server import FakeClock
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.scripted_wechat import answering, http, saying, serving
from tests.unit.configured import APP, OTHER, SECRET, app, nothing_set
from tests.unit.examined import Report, examined, refused
from wechat_sandbox.app import SandboxApp
from wxauth_server.clock import Clock
from wxauth_server.doctor.findings import Check, Status

__all__ = ["nothing_set"]

CHECK = Check.WECHAT_APP


@pytest.fixture(scope="module")
def wechat() -> Iterator[RunningSandbox]:
    with running_sandbox([SandboxApp(APP, SECRET)]) as running:
        yield running


def asked(base_url: str, apps: str = app(), clock: Clock | None = None) -> Report:
    """What is found with WeChat there."""
    text = f'{apps}[wechat]\nbase_url = "{base_url}"\n[gateway]\nserver = "unix:///none"\n'
    return examined(text, clock=clock, offline=False)


def test_the_app_secret_is_right_and_no_code_is_burnt(
    wechat: RunningSandbox, nothing_set: Path
) -> None:
    report = asked(wechat.base_url)
    assert report.only(CHECK).what == f"{APP}: WeChat is reached and takes the AppSecret"
    assert report.only(Check.CLOCK_WECHAT).status is Status.OK
    [call] = [call for call in wechat.calls() if call["path"] == "/sns/jscode2session"][-1:]
    assert (call["errcode"], call["user"]) == (40029, None)


def test_a_wrong_app_secret_beside_a_right_one(wechat: RunningSandbox) -> None:
    wrong = app(more='app_secret = "00000000000000000000000000000000"')
    finding = refused(asked(wechat.base_url, wrong), CHECK, APP, "AppSecret is wrong", "40125")
    assert "app_secret" in finding.what_to_do

    both = asked(wechat.base_url, app(OTHER) + app())
    refused(both, CHECK, OTHER, "does not know this AppId", "40013")
    refused(both, CHECK, APP, status=Status.OK)


@pytest.mark.parametrize(
    ("errcode", "status", "says"),
    [
        (40163, Status.OK, "takes the AppSecret"),
        (40226, Status.OK, "takes the AppSecret"),
        (48001, Status.PROBLEM, "no mini-program"),
        (40243, Status.PROBLEM, "frozen"),
        (40164, Status.PROBLEM, "address of this machine"),
        (45011, Status.WARNING, "quota of the minute"),
        (45009, Status.WARNING, "quota of the day"),
        (-1, Status.WARNING, "busy"),
        (99999, Status.WARNING, "something unknown (errcode 99999)"),
    ],
)
def test_errcodes(wechat: RunningSandbox, errcode: int, status: Status, says: str) -> None:
    wechat.next_calls("/sns/jscode2session", errcode=errcode)
    refused(asked(wechat.base_url), CHECK, says, status=status)


@pytest.mark.parametrize(
    "answer",
    [
        http(b"<html>", "502 Bad Gateway"),
        http(b"not JSON"),
        http(b'{"openid": "o", "session_key": "k"}'),
    ],
)
def test_what_is_not_wechat(answer: bytes) -> None:
    with serving(answering(answer)) as server:
        report = asked(server.base_url)
    assert "wechat.base_url" in refused(report, CHECK, "is not WeChat").what_to_do
    # The scripted one sends no Date.
    assert report.only(Check.CLOCK_WECHAT).status is Status.SKIPPED


def test_nobody_there() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    report = asked(url)
    assert "firewall" in refused(report, CHECK, "refuses the connection").what_to_do
    assert report.only(Check.CLOCK_WECHAT).status is Status.SKIPPED
    development = asked(url, apps="")
    refused(development, CHECK, "sandbox", status=Status.WARNING)


def test_no_name() -> None:
    report = asked("https://no.such.name.invalid")
    assert "resolv.conf" in refused(report, CHECK, "cannot be resolved").what_to_do


def test_no_answer() -> None:
    with serving(saying()) as server:
        refused(asked(server.base_url), CHECK, "without an answer")


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wxauth_server.doctor.wechat.TIMEOUT_S", 0.2)

    def silent(connection: socket.socket) -> None:
        while connection.recv(1 << 20):
            pass

    with serving(silent) as server:
        refused(asked(server.base_url), CHECK, "does not answer within")


def test_a_certificate_that_is_not_trusted(nothing_set: Path) -> None:
    issued = Authority(nothing_set).issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.certificate, issued.key)

    def speak(connection: socket.socket) -> None:
        context.wrap_socket(connection, server_side=True)

    with serving(speak) as server:
        url = server.base_url.replace("http://127.0.0.1", "https://localhost")
        report = asked(url)
    assert "proxy" in refused(report, CHECK, "certificate that is not trusted").what_to_do


@pytest.mark.parametrize(
    ("off_s", "status", "says"),
    [
        (-3_700, Status.PROBLEM, "62 minutes behind"),
        (-30, Status.WARNING, "behind WeChat's"),
        (0, Status.OK, "agrees"),
        (30, Status.WARNING, "ahead of WeChat's"),
        (3_700, Status.PROBLEM, "ahead of WeChat's: user data"),
    ],
)
def test_the_clock(wechat: RunningSandbox, off_s: int, status: Status, says: str) -> None:
    clock = FakeClock(time.time_ns() // 1_000_000 + off_s * 1000)
    report = asked(wechat.base_url, clock=clock)
    finding = refused(report, Check.CLOCK_WECHAT, says, status=status)
    assert status is Status.OK or "timedatectl" in finding.what_to_do


def test_offline_asks_nobody(wechat: RunningSandbox) -> None:
    before = len(wechat.calls())
    report = examined(f'{app()}[wechat]\nbase_url = "{wechat.base_url}"\n', offline=True)
    assert report.only(CHECK).status is Status.SKIPPED
    assert report.only(Check.SERVER_CONNECTION).status is Status.SKIPPED
    assert report.only(Check.ACCOUNT_SOURCES_CONNECTION).status is Status.SKIPPED
    assert len(wechat.calls()) == before

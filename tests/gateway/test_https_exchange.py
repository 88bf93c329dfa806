"""Certificates that are exchanged while the gateway serves."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
import uvicorn

from tests.certificates import Authority
from tests.gateway.running import wait_for
from tests.gateway.tls_clients import GET, NAME, Serving, admitted, exchange, shown, trusting
from wxauth_client.certificates import Certificates, ServerTls, read_certificates
from wxauth_client.file_watch import FileUnusable
from wxauth_gateway import https
from wxauth_gateway.https import FollowingContext


def test_a_new_certificate_is_served_and_open_connections_stay(
    serving: Serving, authority: Authority
) -> None:
    issued = authority.issue("gw", NAME)
    context = trusting(authority)
    with (
        serving(issued) as address,
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=NAME) as kept,
    ):
        kept.sendall(GET.replace(b"Connection: close\r\n", b""))
        received = b""
        while not received.endswith(b"\r\n\r\n{}"):
            received += kept.recv(65_536)
        authority.issue("gw", NAME)
        new = issued.certificate.read_text()
        wait_for(lambda: shown(address) == new)
        assert exchange(address, context).startswith(b"HTTP/1.1 200 ")
        kept.sendall(GET)
        assert kept.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_an_authority_that_is_taken_out_admits_nobody(
    serving: Serving, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    (tmp_path / "clients.pem").write_bytes(authority.ca.read_bytes() + other.ca.read_bytes())
    first = trusting(authority, authority.issue("one"))
    second = trusting(authority, other.issue("two"))
    with serving(authority.issue("gw", NAME), tmp_path / "clients.pem") as address:
        assert exchange(address, first).startswith(b"HTTP/1.1 200 ")
        assert exchange(address, second).startswith(b"HTTP/1.1 200 ")
        (tmp_path / "clients.pem").write_bytes(other.ca.read_bytes())
        wait_for(lambda: not admitted(address, first))
        assert exchange(address, second).startswith(b"HTTP/1.1 200 ")


def test_a_broken_new_one_leaves_the_old_and_is_told_without_traffic(
    serving: Serving,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
) -> None:
    issued = authority.issue("gw", NAME)
    old = issued.certificate.read_text()
    with serving(issued) as address:
        assert shown(address) == old
        issued.key.write_bytes(authority.issue("other", NAME).key.read_bytes())
        wait_for(lambda: bool(_alarms(caplog)))
        [alarm] = _alarms(caplog)
        assert alarm.startswith("certificate of the gateway: the new one cannot be used")
        assert "is not the key of the certificate" in alarm
        assert shown(address) == old
        assert exchange(address, trusting(authority)).startswith(b"HTTP/1.1 200 ")


def _alarms(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "wxauth.files" and record.levelno == logging.ERROR
    ]


def test_a_comment_in_another_alphabet(
    serving: Serving, authority: Authority, tmp_path: Path
) -> None:
    """At the start, and in what comes later; the looking goes on after it."""
    clients = tmp_path / "clients.pem"
    clients.write_text("# 小程序的代理\n" + authority.ca.read_text(), "utf-8")
    issued = authority.issue("gw", NAME)
    proxy = trusting(authority, authority.issue("proxy"))
    with serving(issued, clients) as address:
        assert exchange(address, proxy).startswith(b"HTTP/1.1 200 ")
        clients.write_text("# Autorität\n" + authority.ca.read_text(), "utf-8")
        authority.issue("gw", NAME)
        new = issued.certificate.read_text()
        wait_for(lambda: shown(address) == new)
        assert exchange(address, proxy).startswith(b"HTTP/1.1 200 ")


def test_a_look_that_fails_in_no_foreseen_way_is_told_and_the_next_one_helps(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.issue("gw", NAME)
    tls = ServerTls(issued.certificate, issued.key)
    following = https.Https(tls)
    context = following.context(uvicorn.Config("x"), lambda: None)
    assert isinstance(context, FollowingContext)
    old = context.watch.value

    def look() -> None:
        asyncio.run(following.refresh())
        for thread in looking():
            thread.join(10)

    def fail(**_files: object) -> NoReturn:
        raise LookupError("what stands in the file")

    with monkeypatch.context() as broken:
        broken.setattr(https, "read_certificates", fail)
        authority.issue("gw", NAME)
        look()
        look()
    assert context.watch.value == old
    look()
    assert context.watch.value != old
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert told == ["the certificate of the gateway cannot be looked at: LookupError"]
    assert "what stands" not in caplog.text


def looking() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "certificate"]


def test_a_look_that_hangs_holds_up_neither_the_requests_nor_the_stop(
    serving: Serving, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = threading.Semaphore(0)
    go_on = threading.Event()

    def hang(**files: Any) -> Certificates:
        looks.release()
        assert go_on.wait(30)
        return read_certificates(**files)

    with serving(authority.issue("gw", NAME)) as address:
        assert shown(address)
        monkeypatch.setattr(https, "read_certificates", hang)
        authority.issue("gw", NAME)
        assert looks.acquire(timeout=10)
        assert exchange(address, trusting(authority)).startswith(b"HTTP/1.1 200 ")
    # The gateway has stopped; that one look is all there was, and no process waits for it.
    [thread] = looking()
    assert thread.daemon
    assert not looks.acquire(blocking=False)
    go_on.set()
    thread.join(10)


def test_a_pair_that_changes_between_the_check_and_its_use_is_not_used(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are good, the one that was checked and the one that was loaded."""
    issued = authority.issue("gw", NAME)
    load = ssl.SSLContext.load_cert_chain
    loads = 0

    def exchanged_before(self: ssl.SSLContext, *files: Any, **more: Any) -> None:
        nonlocal loads
        loads += 1
        if loads == 2:  # the first one is the check
            authority.issue("gw", NAME)
        load(self, *files, **more)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", exchanged_before)
    with pytest.raises(FileUnusable, match="being replaced just now"):
        FollowingContext(ServerTls(issued.certificate, issued.key))

"""HTTPS and mTLS of the gateway over real sockets."""

from __future__ import annotations

import asyncio
import datetime
import logging
import socket
import ssl
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.certificates import Authority
from tests.gateway.tls_clients import GET, NAME, Serving, admitted, exchange, trusting
from wxauth_client.certificates import ServerTls
from wxauth_gateway.serve import uvicorn_config
from wxauth_gateway.settings import GatewaySettings
from wxauth_server.cli.http_part import HttpPart, listen
from wxauth_server.cli.output import CommandFailed


def test_https(serving: Serving, authority: Authority) -> None:
    context = trusting(authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    with serving(authority.issue("gw", NAME)) as address:
        assert exchange(address, context).startswith(b"HTTP/1.1 200 OK\r\n")
        with (
            socket.create_connection(address, timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as connection,
        ):
            assert connection.version() == "TLSv1.3"
            assert connection.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("adapt", "works"),
    [
        (lambda c: setattr(c, "maximum_version", ssl.TLSVersion.TLSv1_2), True),
        (lambda c: _ciphers(c, "ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1), False),
        (lambda c: _ciphers(c, "AES128-GCM-SHA256"), False),  # no forward secrecy
        (lambda c: _ciphers(c, "ECDHE-ECDSA-AES128-SHA256"), False),  # CBC
        (lambda c: _ciphers(c, "ECDHE-ECDSA-AES128-GCM-SHA256"), True),
    ],
    ids=["TLS 1.2", "TLS 1.1", "no forward secrecy", "CBC", "AEAD"],
)
def test_versions_and_ciphers(
    serving: Serving,
    authority: Authority,
    adapt: Callable[[ssl.SSLContext], None],
    works: bool,
) -> None:
    context = trusting(authority)
    adapt(context)
    with serving(authority.issue("gw", NAME)) as address:
        if works:
            assert exchange(address, context).startswith(b"HTTP/1.1 200 ")
        else:
            with pytest.raises(ssl.SSLError):
                exchange(address, context)


def _ciphers(
    context: ssl.SSLContext, ciphers: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
) -> None:
    context.set_ciphers(ciphers)
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # TLS 1.1
        context.minimum_version = version
        context.maximum_version = version


def test_plain_http_at_the_tls_port(serving: Serving, authority: Authority) -> None:
    with serving(authority.issue("gw", NAME)) as address:
        with socket.create_connection(address, timeout=10) as plain:
            plain.sendall(GET)
            received = b"".join(iter(lambda: plain.recv(65_536), b""))
        assert b"HTTP" not in received


def test_only_with_a_certificate_of_the_authority(
    serving: Serving,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rogue = Authority(tmp_path, "rogue")
    past = -datetime.timedelta(hours=1)
    refused = {
        "none": None,
        "rogue": rogue.issue("proxy"),
        "expired": authority.issue("old", good_for=past),
        "self-signed": authority.issue("self", self_signed=True),
    }
    with (
        caplog.at_level(logging.INFO),
        serving(authority.issue("gw", NAME), authority.ca) as address,
    ):
        assert admitted(address, trusting(authority, authority.issue("right")))
        for name, issued in refused.items():
            assert not admitted(address, trusting(authority, issued)), name
    told = [record.getMessage() for record in caplog.records if "handshake" in record.getMessage()]
    assert told == [
        "no TLS handshake: PEER_DID_NOT_RETURN_A_CERTIFICATE",
        *["no TLS handshake: CERTIFICATE_VERIFY_FAILED"] * 3,
    ]
    lines = [record.getMessage() for record in caplog.records if record.name == "wxauth.gateway"]
    assert sum(line.startswith("GET /healthz") for line in lines) == 1


@pytest.mark.parametrize("spoil", ["open key", "no certificate", "other key", "broken authority"])
def test_what_cannot_be_used_ends_the_start_in_one_line(
    authority: Authority, caplog: pytest.LogCaptureFixture, spoil: str
) -> None:
    issued = authority.issue("gw", NAME)
    client_ca = None
    match spoil:
        case "open key":
            issued.key.chmod(0o644)
        case "no certificate":
            issued.certificate.unlink()
        case "other key":
            issued.key.write_bytes(authority.issue("other", NAME).key.read_bytes())
        case "broken authority":
            client_ca = authority.ca
            authority.ca.write_text("nothing of the kind")
    settings = GatewaySettings(tls=ServerTls(issued.certificate, issued.key, client_ca))

    async def start() -> None:
        with listen("gateway", "127.0.0.1:0") as listener:
            await HttpPart("gateway", uvicorn_config(settings), listener).start()

    named = authority.ca if client_ca else issued.certificate
    with pytest.raises(CommandFailed, match=f"^gateway: .*{named.parent}"):
        asyncio.run(start())
    assert not [record for record in caplog.records if record.exc_info]

"""HttpSource over TLS: who may hear a password. With authorities made for the test."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.scripted_business import ACCOUNT, YES, Alarm, alarms, business, unavailable
from tests.scripted_wechat import Conversation, Script


@pytest.fixture(autouse=True)
def everything_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """Libraries say most at DEBUG, and the canary listens."""
    caplog.set_level(logging.DEBUG)


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and a server's certificate of it, in PEM files."""

    ca_file: Path
    server_file: Path

    @classmethod
    def make(cls, directory: Path, host: str) -> Authority:
        """For a server on `host`, a name or an address."""
        directory.mkdir()
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        ca_name, name = (
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in ("CA", "server")
        )
        now = datetime.datetime.now(datetime.UTC)

        def builder(
            subject: x509.Name, subject_key: ec.EllipticCurvePrivateKey
        ) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(ca_name)
                .public_key(subject_key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(minutes=5))
                .not_valid_after(now + datetime.timedelta(hours=1))
            )

        ca = (
            builder(ca_name, ca_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
            .sign(ca_key, hashes.SHA256())
        )
        try:
            alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            alternative = x509.DNSName(host)
        certificate = (
            builder(name, key)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False
            )
            .sign(ca_key, hashes.SHA256())
        )
        made = cls(directory / "ca.pem", directory / "server.pem")
        made.ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        made.server_file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return made

    def over_tls(self, conversation: Conversation) -> Conversation:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server_file)

        def converse(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as secured:
                conversation(secured)

        return converse


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path / "ours", "127.0.0.1")


def test_a_service_that_the_authority_vouches_for(authority: Authority) -> None:
    script = Script(verify=YES)
    with business(authority.over_tls(script), scheme="https", ca_file=authority.ca_file) as asked:
        assert asked.verify() == ACCOUNT
        assert asked.verify() == ACCOUNT
    assert asked.server.connections == 1
    assert len(script.asked) == 2


@pytest.mark.parametrize("case", ["public authorities", "another authority", "another host"])
def test_a_service_that_it_does_not_vouch_for_hears_nothing(
    case: str, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority.make(tmp_path / "other", "127.0.0.1")
    elsewhere = Authority.make(tmp_path / "elsewhere", "accounts.example.com")
    served, ca_file = {
        "public authorities": (authority, None),
        "another authority": (authority, other.ca_file),
        "another host": (elsewhere, elsewhere.ca_file),
    }[case]
    script = Script(verify=YES)
    with business(served.over_tls(script), scheme="https", ca_file=ca_file) as asked:
        unavailable(asked.verify)
    assert script.asked == []
    assert alarms(caplog) == [Alarm("ERROR", "/verify", "tls", "SSLError")]


def test_the_environment_names_no_authority(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(authority.ca_file))
    script = Script(verify=YES)
    with business(authority.over_tls(script), scheme="https") as asked:
        unavailable(asked.verify)
    assert script.asked == []
    assert [alarm.kind for alarm in alarms(caplog)] == ["tls"]


def test_a_service_without_tls_hears_nothing(caplog: pytest.LogCaptureFixture) -> None:
    received: list[bytes] = []

    def record(connection: socket.socket) -> None:
        received.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with business(record, scheme="https") as asked:
        unavailable(asked.verify)
    assert b"verify" not in b"".join(received)
    assert [alarm.kind for alarm in alarms(caplog)] == ["tls"]

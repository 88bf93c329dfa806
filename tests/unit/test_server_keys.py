"""Keys of the gRPC server's certificate that are refused, at the start and at each exchange."""

from __future__ import annotations

import logging
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.certificates import Authority, Issued
from tests.keys_of_certificates import DEAD_KEYS, GOOD_KEYS, UNKNOWN_KEYS
from wxauth_client.certificates import Certificates
from wxauth_client.file_watch import FileUnusable, FileWatch
from wxauth_server.callers.watching import watch_server_certificates
from wxauth_server.config import load_configuration
from wxauth_server.doctor.certificate_form import load_chain
from wxauth_server.rpc.client_certificates import read_client_certificate

REFUSED = {**DEAD_KEYS, **UNKNOWN_KEYS}
WHAT_TO_MAKE = "RSA of 2048 bits or more and with ECDSA on P-256 or P-384"


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.chdir(tmp_path)
    return Authority(tmp_path)


def watched(issued: Issued) -> FileWatch[Certificates]:
    tls = {"certificate_file": issued.certificate, "key_file": issued.key}
    watch = watch_server_certificates(load_configuration(grpc={"tls": tls}))
    assert watch is not None
    return watch


@pytest.mark.parametrize("kind", GOOD_KEYS)
def test_keys_that_grpc_connects_with(authority: Authority, kind: str) -> None:
    issued = authority.issue("server", key=GOOD_KEYS[kind]())
    assert watched(issued).value.certificate == issued.certificate.read_bytes()


@pytest.mark.parametrize("kind", REFUSED)
def test_others_are_refused_at_the_start(authority: Authority, kind: str) -> None:
    issued = authority.issue("server", key=REFUSED[kind]())
    with pytest.raises(FileUnusable) as refusal:
        watched(issued)
    assert str(refusal.value).startswith(f"{issued.certificate}: its key is ")
    assert WHAT_TO_MAKE in str(refusal.value)


def test_others_are_refused_at_an_exchange(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watched(authority.issue("server"))
    first = watch.value
    authority.issue("server", key=DEAD_KEYS["Ed25519"]())
    for _ in range(2):
        assert not watch.refresh()
        assert watch.value is first
    [error] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the old one stays" in error.getMessage()
    assert WHAT_TO_MAKE in error.getMessage()
    authority.issue("server", key=GOOD_KEYS["P-384"]())
    assert watch.refresh()
    assert watch.value != first


def test_a_certificate_of_no_version(authority: Authority) -> None:
    """OpenSSL takes it."""
    issued = authority.issue("server")
    der = ssl.PEM_cert_to_DER_cert(issued.certificate.read_text())
    version_5 = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x04")
    issued.certificate.write_text(ssl.DER_cert_to_PEM_cert(version_5))
    with pytest.raises(FileUnusable, match=r"server\.pem: its certificate is not in the form"):
        watched(issued)
    assert load_chain(issued.certificate) == []
    assert read_client_certificate(issued.certificate.read_bytes()).names == ()


def test_a_key_for_rsassa_pss_alone(authority: Authority, tmp_path: Path) -> None:
    """It is RSA of 2048 bits; gRPC cannot load it."""
    issued = Issued(tmp_path / "pss.pem", tmp_path / "pss.key")
    command = "openssl req -x509 -newkey rsa-pss -pkeyopt rsa_keygen_bits:2048 -noenc -subj /CN=a"
    command += " -addext subjectAltName=DNS:a"
    files = ("-keyout", issued.key, "-out", issued.certificate)
    subprocess.run((*command.split(), *files), check=True, capture_output=True)
    issued.key.chmod(0o600)
    with pytest.raises(FileUnusable, match="RSASSA-PSS"):
        watched(issued)

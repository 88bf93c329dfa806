"""Certificates, keys and authorities as files: what is read, and what is refused and why."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.certificates import Authority, Issued
from wxauth_client.certificates import (
    Certificates,
    read_certificates,
    read_private_file,
    watch_certificates,
)
from wxauth_client.file_watch import FileUnusable


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("server")


def read(issued: Issued, ca: Path | None = None) -> Certificates:
    return read_certificates(certificate_file=issued.certificate, key_file=issued.key, ca_file=ca)


def test_what_is_read(authority: Authority, issued: Issued) -> None:
    found = read(issued, authority.ca)
    assert found.certificate == issued.certificate.read_bytes()
    assert found.key == issued.key.read_bytes()
    assert found.authorities == authority.ca.read_bytes()
    assert repr(found) == "Certificates()"


def test_one_without_the_other(issued: Issued) -> None:
    for pair in ((issued.certificate, None), (None, issued.key)):
        with pytest.raises(FileUnusable, match="go together"):
            read_certificates(certificate_file=pair[0], key_file=pair[1], ca_file=None)


def encrypted(form: serialization.PrivateFormat) -> Callable[[Issued], None]:
    def protect(issued: Issued) -> None:
        key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret")
            )
        )

    return protect


def another_key(issued: Issued) -> None:
    issued.key.write_bytes(
        Authority(issued.key.parent, "other").issue("elsewhere").key.read_bytes()
    )


def der_certificate(issued: Issued) -> None:
    issued.certificate.write_bytes(ssl.PEM_cert_to_DER_cert(issued.certificate.read_text()))


def der_key(issued: Issued) -> None:
    key = serialization.load_pem_private_key(issued.key.read_bytes(), None)
    issued.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def a_pipe(issued: Issued) -> None:
    issued.key.unlink()
    os.mkfifo(issued.key, 0o600)


def a_directory(issued: Issued) -> None:
    issued.key.unlink()
    issued.key.mkdir()


BROKEN: dict[str, tuple[Callable[[Issued], object], str]] = {
    "another key": (another_key, r"server\.key is not the key of the certificate .*server\.pem"),
    "DER certificate": (der_certificate, r"server\.pem holds no certificate in PEM"),
    "DER key": (der_key, r"server\.key holds no private key in PEM"),
    "passphrase": (encrypted(serialization.PrivateFormat.PKCS8), "protected by a passphrase"),
    "passphrase, old form": (
        encrypted(serialization.PrivateFormat.TraditionalOpenSSL),
        "protected by a passphrase",
    ),
    "certificate and key the wrong way round": (
        lambda issued: issued.certificate.write_bytes(issued.key.read_bytes()),
        r"server\.pem holds no certificate in PEM",
    ),
    "a garbled certificate": (
        lambda issued: issued.certificate.write_text(
            issued.certificate.read_text().replace("M", "!", 9)
        ),
        "cannot be read as a certificate and its key",
    ),
    "half a certificate": (
        lambda issued: os.truncate(issued.certificate, 200),
        "cannot be read as a certificate and its key",
    ),
    "half a key": (
        lambda issued: os.truncate(issued.key, 100),
        "cannot be read as a certificate and its key|holds no private key",
    ),
    "empty": (lambda issued: issued.key.write_text(" \n"), r"server\.key is empty"),
    "missing": (lambda issued: issued.key.unlink(), r"server\.key cannot be read: No such file"),
    "a directory": (a_directory, r"server\.key is no regular file|cannot be read: Is a directory"),
    "a pipe": (a_pipe, r"server\.key is no regular file"),
    "too long": (
        lambda issued: os.truncate(issued.certificate, 2_000_000),
        r"server\.pem is longer than 1048576 bytes",
    ),
    "readable for all": (lambda issued: issued.key.chmod(0o604), r"open to others \(mode 0604\)"),
    "writable for its group": (lambda issued: issued.key.chmod(0o660), "open to others"),
}


@pytest.mark.parametrize(("break_it", "text"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_used(issued: Issued, break_it: Callable[[Issued], None], text: str) -> None:
    read(issued)
    break_it(issued)
    with pytest.raises(FileUnusable, match=text) as refusal:
        read(issued)
    assert refusal.value.__cause__ is None
    assert "BEGIN" not in str(refusal.value)


def test_who_may_read_a_key(issued: Issued) -> None:
    for mode in (0o600, 0o400, 0o640, 0o440):
        issued.key.chmod(mode)
        read(issued)
    issued.certificate.chmod(0o666)
    read(issued)


def test_a_certificate_and_its_key_in_one_file(issued: Issued) -> None:
    issued.key.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    both = read(Issued(issued.key, issued.key))
    assert "PRIVATE" not in repr(both)


@pytest.mark.parametrize(
    "content", [b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_authorities_that_are_none(tmp_path: Path, issued: Issued, content: bytes) -> None:
    ca = tmp_path / "broken.pem"
    ca.write_bytes(content)
    with pytest.raises(FileUnusable, match=r"broken\.pem cannot be read as certificates of auth"):
        read(issued, ca)


def test_authorities_in_der(tmp_path: Path, authority: Authority) -> None:
    ca = tmp_path / "ca.der"
    ca.write_bytes(ssl.PEM_cert_to_DER_cert(authority.ca.read_text()))
    with pytest.raises(FileUnusable, match="cannot be read as certificates of authorities, PEM"):
        read_certificates(certificate_file=None, key_file=None, ca_file=ca)


def test_authorities_with_names_beside_them(authority: Authority) -> None:
    """As bundles have them: Főtanúsítvány."""
    authority.ca.write_text(f"# Főtanúsítvány\n{authority.ca.read_text()}", "utf-8")
    found = read_certificates(certificate_file=None, key_file=None, ca_file=authority.ca)
    assert found.authorities is not None


def test_an_expired_certificate_is_read(authority: Authority) -> None:
    assert read(authority.issue("old", good_for=timedelta(days=-1))).certificate


def test_a_pair_that_is_replaced_one_after_the_other(
    authority: Authority, issued: Issued, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "wxauth.files")
    watch = watch_certificates(
        "certificate", certificate_file=issued.certificate, key_file=issued.key, ca_file=None
    )
    first = watch.value
    new = authority.issue("new")
    new.key.replace(issued.key)
    assert not watch.refresh()
    assert watch.value is first
    new.certificate.replace(issued.certificate)
    assert watch.refresh()
    assert watch.value.key != first.key
    assert caplog.messages == ["certificate: exchanged"]


def test_a_private_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("what it holds")
    file.chmod(0o644)
    with pytest.raises(FileUnusable, match="chmod 600") as refusal:
        read_private_file(file)
    assert "what it holds" not in str(refusal.value)
    file.chmod(0o600)
    assert read_private_file(file) == b"what it holds"

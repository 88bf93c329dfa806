"""What is read from certificates that others made, some of them not as they should be."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from tests.certificates import Authority, Issued
from tests.raw_certificates import issue_raw
from wxauth_server.certificate_reading import (
    caller_names_of,
    extension_of,
    has_readable_extensions,
    host_names_of,
)
from wxauth_server.rpc.client_certificates import read_client_certificate

URI = "spiffe://company.example/orders"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def loaded(issued: Issued) -> x509.Certificate:
    return x509.load_pem_x509_certificate(issued.certificate.read_bytes())


def test_names_by_what_they_are_for(authority: Authority) -> None:
    issued = authority.issue("orders", "orders.internal", "10.0.0.5", URI)
    certificate = loaded(issued)
    assert host_names_of(certificate) == ("orders.internal", "10.0.0.5")
    assert caller_names_of(certificate) == ("orders.internal", URI)
    assert read_client_certificate(issued.certificate.read_bytes()).names == (
        "orders.internal",
        URI,
    )


UNREADABLE = {
    "an address of X.400": ([(0x23, b"\x30\x00"), (2, b"orders.internal")], False),
    "a name of EDI": ([(0x25, b"\x30\x00"), (2, b"orders.internal")], False),
    "no ASCII": ([(2, b"\xff"), (2, b"orders.internal")], False),
    "an extension twice": ([(2, b"orders.internal")], True),
}


@pytest.mark.parametrize(("names", "twice"), UNREADABLE.values(), ids=UNREADABLE)
def test_extensions_that_cannot_be_read(
    authority: Authority, tmp_path: Path, names: list[tuple[int, bytes]], twice: bool
) -> None:
    issued = issue_raw(authority, tmp_path, "orders.internal", names, twice=twice)
    certificate = loaded(issued)
    assert not has_readable_extensions(certificate)
    assert host_names_of(certificate) == caller_names_of(certificate) == ()
    assert extension_of(certificate, x509.KeyUsage) is None
    assert read_client_certificate(issued.certificate.read_bytes()).names == ()


def test_no_names(authority: Authority, tmp_path: Path) -> None:
    certificate = loaded(issue_raw(authority, tmp_path, "orders.internal", []))
    assert has_readable_extensions(certificate)
    assert host_names_of(certificate) == caller_names_of(certificate) == ()
    assert read_client_certificate(b"no certificate").names == ()

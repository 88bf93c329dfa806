"""wxauth doctor: each certificate by itself."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from tests.certificates import Authority, Issued
from tests.keys_of_certificates import DEAD_KEYS, UNKNOWN_KEYS
from tests.raw_certificates import issue_raw
from tests.unit.configured import app, nothing_set
from tests.unit.examined import Report, examined, refused
from tests.unit.unusual_certificates import OF_SHA_1, names, unusual
from wxauth_server.doctor.findings import Check, Finding, Status

__all__ = ["nothing_set"]

DAY = datetime.timedelta(days=1)
HERE = Path()

#: The table, its key for authorities, and what the findings are called.
SUBJECTS = {
    "grpc.tls": (
        "client_ca_file",
        Check.GRPC_CERTIFICATE,
        Check.GRPC_EXPIRY,
        Check.GRPC_CLIENT_CA,
    ),
    "gateway.tls": (
        "client_ca_file",
        Check.GATEWAY_CERTIFICATE,
        Check.GATEWAY_EXPIRY,
        Check.GATEWAY_CLIENT_CA,
    ),
    "gateway.credentials": (
        "ca_file",
        Check.CREDENTIALS_CERTIFICATE,
        Check.CREDENTIALS_EXPIRY,
        Check.CREDENTIALS_CA,
    ),
}


def with_files(table: str, issued: Issued, ca: Path) -> Report:
    """What is found with these files in that table."""
    return examined(
        app() + f'[{table}]\ncertificate_file = "{issued.certificate}"\n'
        f'key_file = "{issued.key}"\n{SUBJECTS[table][0]} = "{ca}"\n'
    )


def of_server(issued: Issued) -> Report:
    return examined(
        app() + f'[grpc.tls]\ncertificate_file = "{issued.certificate}"\n'
        f'key_file = "{issued.key}"\n'
    )


def told(issued: Issued, *parts: str, status: Status = Status.PROBLEM) -> Finding:
    """What is found wrong with the server's certificate."""
    return refused(of_server(issued), Check.GRPC_CERTIFICATE, *parts, status=status)


@pytest.fixture
def authority(nothing_set: Path) -> Authority:
    return Authority(HERE)


@pytest.mark.parametrize("table", SUBJECTS)
def test_certificates_in_order(table: str, authority: Authority) -> None:
    issued = authority.issue("wxauth.internal", good_for=90 * DAY)
    report = with_files(table, issued, authority.ca)
    _, certificate, expiry, authorities = SUBJECTS[table]
    assert report.only(certificate).status is Status.OK
    assert report.only(expiry).status is Status.OK
    # The tests' authority is good for a day.
    refused(report, authorities, "ca.pem expires", status=Status.WARNING)


def test_no_certificates() -> None:
    report = examined()
    for _, certificate, expiry, authorities in SUBJECTS.values():
        assert report.only(certificate).status is Status.SKIPPED
        assert report.of(expiry) == []
        assert report.only(authorities).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("table", "age", "left", "status", "says"),
    [
        *((table, 300, -1, Status.PROBLEM, "expired on") for table in SUBJECTS),
        *((table, 300, 6.5, Status.WARNING, "expires in 6 days") for table in SUBJECTS),
        ("grpc.tls", 300, 0.5, Status.WARNING, "expires in less than a day"),
        ("grpc.tls", 300, 29.5, Status.WARNING, "expires in 29 days"),
        ("grpc.tls", 300, 31, Status.OK, "is valid until"),
        # One of a week, which something renews every few days.
        ("grpc.tls", 1, 6, Status.OK, "is valid until"),
        ("grpc.tls", 5, 2, Status.WARNING, "expires in less than 2 days"),
    ],
)
def test_how_long_it_is_good(
    table: str, age: float, left: float, status: Status, says: str, authority: Authority
) -> None:
    issued = unusual(HERE, names("a"), begins=-age * DAY, ends=left * DAY)
    report = with_files(table, issued, authority.ca)
    finding = refused(report, SUBJECTS[table][2], says, status=status)
    if status is not Status.OK:
        assert ("renew it now" in finding.what_to_do) == (left <= 7)


def test_it_is_not_valid_yet() -> None:
    report = of_server(unusual(HERE, names("a"), begins=DAY))
    assert "clock" in refused(report, Check.GRPC_EXPIRY, "not valid before").what_to_do


def test_the_key_of_another_certificate(authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    finding = told(Issued(one.certificate, other.key), "is not the key of the certificate")
    assert "grpc.tls" in finding.what_to_do


def test_a_key_that_others_can_read(authority: Authority) -> None:
    issued = authority.issue("one", good_for=90 * DAY)
    issued.key.chmod(0o644)
    assert "chmod 600" in told(issued, "open to others").what_to_do
    issued.key.chmod(0o600)
    assert of_server(issued).only(Check.GRPC_CERTIFICATE).status is Status.OK


def test_files_that_are_not_there() -> None:
    report = of_server(Issued(Path("no.pem"), Path("no.key")))
    refused(report, Check.GRPC_CERTIFICATE, "no.pem cannot be read")
    assert report.only(Check.GRPC_EXPIRY).status is Status.SKIPPED


def test_no_subject_alternative_names() -> None:
    told(unusual(HERE), "no subject alternative names", "common name")


def test_the_certificate_of_an_authority(authority: Authority) -> None:
    told(
        unusual(HERE, names("a"), x509.BasicConstraints(ca=True, path_length=None)),
        "of an authority, not of a service",
    )


@pytest.mark.parametrize(
    ("table", "use", "says"),
    [
        ("grpc.tls", ExtendedKeyUsageOID.CLIENT_AUTH, "serverAuth"),
        ("gateway.credentials", ExtendedKeyUsageOID.SERVER_AUTH, "clientAuth"),
    ],
)
def test_the_wrong_use(
    table: str, use: x509.ObjectIdentifier, says: str, authority: Authority
) -> None:
    issued = unusual(HERE, names("a"), x509.ExtendedKeyUsage([use]))
    check = SUBJECTS[table][1]
    refused(with_files(table, issued, authority.ca), check, "extended key usage", says)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issued = unusual(HERE, names("a"), x509.ExtendedKeyUsage(both))
    assert with_files(table, issued, authority.ca).only(check).status is Status.OK


def test_a_key_that_may_not_sign() -> None:
    usage = x509.KeyUsage(False, False, True, False, False, False, False, False, False)
    told(unusual(HERE, names("a"), usage), "digitalSignature")


def test_a_short_key() -> None:
    """OpenSSL refuses it too, without saying why."""
    report = of_server(unusual(HERE, names("a"), key=rsa.generate_private_key(65_537, 1024)))
    whats = [one.what for one in report.of(Check.GRPC_CERTIFICATE)]
    assert [what for what in whats if "RSA of 1024 bits" in what]
    assert report.statuses(Check.GRPC_CERTIFICATE) == {Status.PROBLEM}


@pytest.mark.parametrize("kind", [*DEAD_KEYS, *UNKNOWN_KEYS])
def test_keys_that_grpc_does_not_use(kind: str, authority: Authority) -> None:
    """Browsers and proxies may."""
    key = {**DEAD_KEYS, **UNKNOWN_KEYS}[kind]()
    issued = authority.issue("a", key=key, good_for=90 * DAY)
    for table in ("grpc.tls", "gateway.credentials"):
        report = with_files(table, issued, authority.ca)
        refused(report, SUBJECTS[table][1], "its key is", "ECDSA on P-256 or P-384")
    report = with_files("gateway.tls", issued, authority.ca)
    assert report.only(Check.GATEWAY_CERTIFICATE).status is Status.OK


def test_names_that_are_not_read(authority: Authority) -> None:
    """An address of X.400; the other names are beside it."""
    issued = issue_raw(authority, HERE, "a", [(0x23, b"\x30\x00"), (2, b"a")])
    told(issued, "its extensions cannot be read", status=Status.WARNING)
    assert with_files("gateway.credentials", issued, authority.ca).findings


def test_an_extension_that_is_there_twice(authority: Authority) -> None:
    issued = issue_raw(authority, HERE, "a", [(2, b"a")], twice=True)
    told(issued, "its extensions cannot be read", status=Status.WARNING)


def test_a_signature_of_sha_1() -> None:
    issued = unusual(HERE, names("a"))
    issued.certificate.write_bytes(OF_SHA_1)
    report = of_server(issued)
    assert any("SHA1" in one.what for one in report.of(Check.GRPC_CERTIFICATE))


def test_a_self_signed_one(authority: Authority) -> None:
    issued = authority.issue("a", good_for=90 * DAY, self_signed=True)
    told(issued, "self-signed", status=Status.WARNING)


def test_a_missing_intermediate_one(authority: Authority) -> None:
    place = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS,
        x509.UniformResourceIdentifier("http://authority.example.com/intermediate.crt"),
    )
    issued = unusual(HERE, names("a"), x509.AuthorityInformationAccess([place]))
    finding = told(issued, "certificate of its issuer is missing", status=Status.WARNING)
    assert "append the intermediate" in finding.what_to_do

    # Its issuer is one of those whom the other side trusts.
    known = Authority(HERE, "an intermediate one")
    report = with_files("grpc.tls", issued, known.ca)
    assert report.only(Check.GRPC_CERTIFICATE).status is Status.OK


def test_a_chain_in_the_wrong_order(authority: Authority) -> None:
    issued = authority.issue("a", good_for=90 * DAY)
    alone = issued.certificate.read_bytes()
    stranger = authority.issue("b", good_for=90 * DAY)
    issued.certificate.write_bytes(alone + stranger.certificate.read_bytes())
    told(issued, "not in the order", status=Status.WARNING)

    issued.certificate.write_bytes(alone + authority.ca.read_bytes())
    assert of_server(issued).only(Check.GRPC_CERTIFICATE).status is Status.OK


@pytest.mark.parametrize("table", SUBJECTS)
def test_a_file_of_authorities_without_one(table: str, authority: Authority) -> None:
    issued = authority.issue("a", good_for=90 * DAY)
    check = SUBJECTS[table][3]
    refused(with_files(table, issued, issued.certificate), check, "no certificate of an authority")
    refused(with_files(table, issued, issued.key), check, "cannot be read as certificates")

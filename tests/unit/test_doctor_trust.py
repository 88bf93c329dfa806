"""wxauth doctor: what the gateway and the server think of each other's certificates."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from tests.canary import CANARY
from tests.certificates import Authority, Issued
from tests.unit.configured import app, nothing_set
from tests.unit.examined import Report, examined, refused
from wxauth_server.doctor.findings import Check, Status
from wxauth_server.doctor.trust import host_and_port

__all__ = ["nothing_set"]

TOKEN = CANARY.keep("wxc_" + "t" * 43)


@pytest.fixture
def authority(nothing_set: Path) -> Authority:
    return Authority(Path())


def both(
    theirs: Issued,
    ca: Path,
    *,
    server: str = "wxauth.internal:50051",
    clients: Path | None = None,
    ours: Issued | None = None,
    listen: str = "127.0.0.1:50051",
    more: str = "",
) -> Report:
    """What is found where server and gateway are on one machine."""
    asks = f'client_ca_file = "{clients}"\n' if clients else ""
    has = f'certificate_file = "{ours.certificate}"\nkey_file = "{ours.key}"\n' if ours else ""
    return examined(
        app() + f'[grpc]\nlisten = "{listen}"\n'
        f'[grpc.tls]\ncertificate_file = "{theirs.certificate}"\nkey_file = "{theirs.key}"\n{asks}'
        f'[gateway]\nserver = "{server}"\n[gateway.credentials]\nca_file = "{ca}"\n{has}{more}'
    )


def test_a_certificate_with_the_name(authority: Authority) -> None:
    report = both(authority.issue("wxauth.internal"), authority.ca)
    assert report.only(Check.CREDENTIALS_TRUST).status is Status.OK
    assert "wxauth.internal" in report.only(Check.GRPC_NAMES).what


@pytest.mark.parametrize("server", ["other.internal:50051", "127.0.0.1:50051"])
def test_another_name(server: str, authority: Authority) -> None:
    issued = authority.issue("wxauth.internal")
    finding = refused(
        both(issued, authority.ca, server=server), Check.CREDENTIALS_TRUST, "other names"
    )
    assert "server_name" in finding.what_to_do

    mended = both(issued, authority.ca, server=server, more='server_name = "wxauth.internal"\n')
    assert mended.only(Check.CREDENTIALS_TRUST).status is Status.OK


def test_another_authority(authority: Authority) -> None:
    rogue = Authority(Path(), "rogue")
    report = both(authority.issue("wxauth.internal"), rogue.ca)
    finding = refused(report, Check.CREDENTIALS_TRUST, "another authority")
    assert "ca_file" in finding.what_to_do


def test_an_expired_one(authority: Authority) -> None:
    issued = authority.issue("wxauth.internal", good_for=datetime.timedelta(days=-1))
    refused(both(issued, authority.ca), Check.CREDENTIALS_TRUST, "has expired")


def test_a_server_that_asks_for_certificates(authority: Authority) -> None:
    issued = authority.issue("wxauth.internal")
    finding = refused(
        both(issued, authority.ca, clients=authority.ca), Check.CREDENTIALS_TRUST, "refuses ours"
    )
    assert "certificate_file" in finding.what_to_do
    ours = authority.issue("gateway")
    mended = both(issued, authority.ca, clients=authority.ca, ours=ours)
    assert mended.only(Check.CREDENTIALS_TRUST).status is Status.OK

    strangers = Authority(Path(), "strangers").issue("gateway", file="stranger")
    report = both(issued, authority.ca, clients=authority.ca, ours=strangers)
    refused(report, Check.CREDENTIALS_TRUST, "refuses ours")


def test_files_that_cannot_be_used(authority: Authority) -> None:
    report = both(authority.issue("wxauth.internal"), Path("none.pem"))
    assert report.only(Check.CREDENTIALS_TRUST).status is Status.SKIPPED
    refused(report, Check.CREDENTIALS_CA, "none.pem")


def test_a_target_that_names_no_host(authority: Authority) -> None:
    report = both(authority.issue("wxauth.internal"), authority.ca, server="unix:///run/wxauth")
    assert report.only(Check.CREDENTIALS_TRUST).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("listen", "names", "status"),
    [
        ("wxauth.internal:1", ["wxauth.internal"], Status.OK),
        ("A.Wxauth.internal:1", ["*.wxauth.internal"], Status.OK),
        ("a.b.wxauth.internal:1", ["*.wxauth.internal"], Status.WARNING),
        ("wxauth.internal:1", ["*.wxauth.internal", "10.0.0.5"], Status.WARNING),
        ("0.0.0.0:1", ["10.0.0.5"], Status.OK),
        ("[::]:1", ["wxauth.internal"], Status.OK),
    ],
)
def test_the_name_that_the_server_listens_on(
    listen: str, names: list[str], status: Status, authority: Authority
) -> None:
    report = both(authority.issue("server", *names), authority.ca, listen=listen)
    assert names[0] in refused(report, Check.GRPC_NAMES, status=status).what


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("dns:///wxauth.internal:50051", ("wxauth.internal", 50051)),
        ("dns://10.0.0.2/wxauth.internal:50051", ("wxauth.internal", 50051)),
        ("dns:wxauth:50051", ("wxauth", 50051)),
        ("[::1]:50051", ("::1", 50051)),
        ("ipv6:[::1]:50051", ("::1", 50051)),
        ("unix:///run/wxauth", None),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", None),
    ],
)
def test_targets(target: str, expected: tuple[str, int] | None) -> None:
    assert host_and_port(target) == expected


def test_the_token_of_the_gateway() -> None:
    file = Path("gateway.token")
    text = app() + f'[gateway.credentials]\ntoken_file = "{file}"\n'
    refused(examined(text), Check.CREDENTIALS_TOKEN, "cannot be read")
    file.touch(0o644)
    file.write_text(TOKEN)
    finding = refused(examined(text), Check.CREDENTIALS_TOKEN, "open to others")
    assert f"chmod 600 {file}" in finding.what_to_do
    file.chmod(0o600)
    assert examined(text).only(Check.CREDENTIALS_TOKEN).status is Status.OK
    file.write_text("wxc_short")
    refused(examined(text), Check.CREDENTIALS_TOKEN, "holds no token")

    inline = examined(app() + f'[gateway.credentials]\ntoken = "{TOKEN}"\n')
    assert "token_file" in inline.only(Check.CREDENTIALS_TOKEN).what_to_do

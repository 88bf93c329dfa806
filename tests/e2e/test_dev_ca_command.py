"""`wxauth dev-ca`: what it makes, prints and refuses. That it works: test_off_loopback.py."""

from __future__ import annotations

import shlex
import tomllib
from pathlib import Path

import pytest

from tests.wxauth_command import done_well, refused, wxauth
from wxauth_client.credentials import Credentials
from wxauth_server.config import Configuration


def said(cwd: Path, *arguments: str) -> str:
    return done_well(wxauth("dev-ca", *arguments, cwd=cwd))


def configuration_in(printed: str) -> Configuration:
    """What it says belongs into wxauth.toml."""
    return Configuration(**tomllib.loads(printed[printed.index("[grpc]") : printed.index("# Who")]))


def variables_in(printed: str) -> dict[str, str]:
    lines = [shlex.split(line)[1] for line in printed.splitlines() if line.startswith("export ")]
    return dict(line.split("=", 1) for line in lines)


def test_callers_with_tokens(tmp_path: Path) -> None:
    printed = said(tmp_path, "a ca", "--server", "auth.example.com", "--server", "192.0.2.7")
    ca = tmp_path / "a ca"
    assert sorted(path.name for path in ca.iterdir()) == [
        "ca.key",
        "ca.pem",
        "server.key",
        "server.pem",
    ]
    assert "for auth.example.com, 192.0.2.7, localhost, 127.0.0.1, ::1; good until" in printed
    configuration = configuration_in(printed)
    assert configuration.grpc.tls is not None
    assert configuration.grpc.tls == configuration.gateway.tls
    assert configuration.grpc.tls.client_ca_file is None
    assert configuration.gateway.server == "auth.example.com:50051"
    assert configuration.gateway.credentials == Credentials(
        ca_file=ca / "ca.pem", token_file=ca / "gateway.token"
    )
    assert Credentials.from_environment(variables_in(printed)) == Credentials(
        ca_file=ca / "ca.pem", token_file=ca / "service.token"
    )
    assert [line for line in printed.splitlines() if line.startswith("wxauth ")] == [
        f"wxauth callers add {role} --role {role} --output '{ca}/{role}.token'"
        for role in ("gateway", "service", "admin")
    ]
    [told] = [line for line in printed.splitlines() if "[[apps]]" in line]
    assert told.startswith("# ")
    assert "wxauth keys init" in told
    assert "For development" in printed


def test_callers_with_certificates(tmp_path: Path) -> None:
    clients = ("orders", "gateway", "admin", "admin-of-shanghai", "orders", "gateway-logs")
    printed = said(tmp_path, "ca", *(word for name in clients for word in ("--client", name)))
    ca = tmp_path / "ca"
    configuration = configuration_in(printed)
    assert configuration.grpc.tls is not None
    assert configuration.grpc.tls.client_ca_file == ca / "ca.pem"
    assert configuration.gateway.server == "localhost:50051"
    assert configuration.gateway.credentials == Credentials(
        ca_file=ca / "ca.pem",
        certificate_file=ca / "gateway.pem",
        key_file=ca / "gateway.key",
    )
    assert [line for line in printed.splitlines() if line.startswith("wxauth ")] == [
        "wxauth callers add orders --role service --certificate-name orders",
        "wxauth callers add gateway --role gateway --certificate-name gateway",
        "wxauth callers add admin --role admin --certificate-name admin",
        # A name that only begins like a role says nothing: the least is taken.
        *(
            f"wxauth callers add {name} --role service --certificate-name {name}"
            for name in ("admin-of-shanghai", "gateway-logs")
        ),
    ]
    assert Credentials.from_environment(variables_in(printed)) == Credentials(
        ca_file=ca / "ca.pem",
        certificate_file=ca / "gateway-logs.pem",
        key_file=ca / "gateway-logs.key",
    )


def test_certificates_of_others_than_the_gateway(tmp_path: Path) -> None:
    """A gateway that had that of orders would be let in for what a service may do only."""
    printed = said(tmp_path, "ca", "--client", "orders")
    configuration = configuration_in(printed)
    assert configuration.grpc.tls is not None
    assert configuration.grpc.tls.client_ca_file == tmp_path / "ca" / "ca.pem"
    assert configuration.gateway.credentials == Credentials(ca_file=tmp_path / "ca" / "ca.pem")
    assert [line for line in printed.splitlines() if "--client gateway" in line]


def test_the_certificate_of_the_gateway_alone(tmp_path: Path) -> None:
    printed = said(tmp_path, "ca", "--client", "gateway")
    assert set(variables_in(printed)) == {"WXAUTH_CA_FILE"}
    assert configuration_in(printed).gateway.credentials.certificate_file is not None
    assert "--client gateway makes" not in printed


def test_again_it_exchanges_what_is_asked_for(tmp_path: Path) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()}

    said(tmp_path, "ca", "--server", "example.com", "--client", "gateway")
    first = files()
    printed = said(tmp_path, "ca", "--client", "gateway")
    assert "[grpc.tls]" not in printed
    assert f"grpc.tls.client_ca_file: {tmp_path / 'ca' / 'ca.pem'}" in printed
    second = files()
    assert {name for name in first if first[name] != second[name]} == {"gateway.key", "gateway.pem"}
    said(tmp_path, "ca", "--server", "example.com", "--days", "1")
    third = files()
    assert {name for name in third if second[name] != third[name]} == {"server.key", "server.pem"}
    refused(wxauth("dev-ca", "ca", cwd=tmp_path), "--server or --client")
    assert files() == third


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("ca", "--client", "server"), "server.pem and server.key"),
        (("ca", "--client", "ca"), "ca.pem and ca.key"),
        (("ca", "--client", "../x"), "not a DNS name"),
        (("ca", "--server", "host:1"), "no port"),
        (("ca", "--server", "0.0.0.0"), "every address"),
        (("ca", "--days", "0"), "--days"),
        (("ca", "--days", "366"), "--days"),
        ((), "DIR"),
    ],
)
def test_what_it_does_not_understand(
    tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    done = wxauth("dev-ca", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("of a server that runs")
    refused(wxauth("dev-ca", ".", "--server", "x", cwd=tmp_path), "holds other files")
    assert (tmp_path / "server.key").read_text() == "of a server that runs"


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(wxauth("dev-ca", "file/ca", cwd=tmp_path), "file/ca cannot be used: Not a directory")

"""What `wxauth dev-ca` makes certificates for."""

from __future__ import annotations

import pytest

from wxauth_server.cli.dev_ca_names import client_name, server_name


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("auth.example.com", "auth.example.com"),
        ("Auth.Example.COM", "auth.example.com"),
        ("wxauth", "wxauth"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0::1", "2001:db8::1"),
    ],
)
def test_names_of_servers(given: str, usual: str) -> None:
    assert server_name(given) == usual


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "not a DNS name"),
        ("host:50051", "no port"),
        ("[::1]", "not a DNS name"),
        ("*.example.com", "no wildcard"),
        ("https://example.com", "not a DNS name"),
        ("a..b", "not a DNS name"),
        ("-a", "not a DNS name"),
        ("a_b", "not a DNS name"),
        ("例子", "not a DNS name"),
        ("../../etc", "not a DNS name"),
        ("192.0.2.256", "not a DNS name"),
        ("x" * 64, "not a DNS name"),
        (".".join(["a" * 60] * 5), "not a DNS name"),
        ("0.0.0.0", "every address"),
        ("::", "every address"),
        ("fe80::1%eth0", "one machine only"),
    ],
)
def test_what_no_server_is_called(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        server_name(name)


@pytest.mark.parametrize("name", ["gateway", "orders.internal", "a", "ops-2"])
def test_names_of_clients(name: str) -> None:
    assert client_name(name) == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ca", "other files"),
        ("server", "other files"),
        ("Gateway", "not a DNS name"),
        ("../server", "not a DNS name"),
        ("", "not a DNS name"),
        (".".join(["a" * 40] * 2), "longer than 64"),
    ],
)
def test_what_no_client_is_called(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        client_name(name)

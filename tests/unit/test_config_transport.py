"""The settings of who may reach what: TLS, callers, credentials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.configured import (
    load,
    nothing_set,  # noqa: F401 - a fixture for every test
    refused,
)
from wxauth_client.certificates import ServerTls
from wxauth_client.credentials import Credentials
from wxauth_server.config import load_configuration
from wxauth_server.settings import ConfigurationError

TLS = 'tls = { certificate_file = "server.pem", key_file = "server.key" }\n'
MTLS = (
    "[grpc.tls]\n"
    'certificate_file = "server.pem"\nkey_file = "server.key"\nclient_ca_file = "ca.pem"\n'
)
TOKEN = "wxc_" + "x" * 43

ELSEWHERE = [
    "0.0.0.0:50051",
    "[::]:50051",
    "10.0.0.1:50051",
    "128.0.0.1:50051",
    "example.com:50051",
    "localhost.example.com:50051",
    "[::2]:50051",
]
HERE = ["127.0.0.1:0", "127.0.0.2:50051", "localhost:50051", "LOCALHOST:1", "[::1]:65535"]


# --- The gRPC server -----------------------------------------------------------------


@pytest.mark.parametrize("listen", ELSEWHERE)
def test_other_machines_need_tls(listen: str) -> None:
    """The text names all that is missing, not only what is looked at first."""
    text = refused(f'[grpc]\nlisten = "{listen}"\n')
    assert text.startswith(f"grpc: listen: {listen} is not loopback")
    assert all(
        part in text
        for part in ("grpc.tls.certificate_file", "grpc.tls.key_file", "wxauth callers add")
    )


@pytest.mark.parametrize("listen", ["::1:50051", "2001:db8::1:50051"])
def test_an_ipv6_address_without_brackets(listen: str) -> None:
    """It may be on loopback: what is wrong with it is how it is written."""
    for table in ("grpc", "gateway"):
        text = refused(f'[{table}]\nlisten = "{listen}"\n')
        assert text.startswith(
            f"{table}.listen: not an address; an IPv6 address stands in brackets"
        )


@pytest.mark.parametrize("listen", ELSEWHERE)
def test_with_tls_other_machines_are_let_in_who_prove_themselves(listen: str) -> None:
    grpc = load(f'[grpc]\nlisten = "{listen}"\n{TLS}').grpc
    assert grpc.tls == ServerTls(Path("server.pem"), Path("server.key"))
    assert grpc.callers_required
    assert not grpc.serves_reflection
    open_to_all = f'[grpc]\nlisten = "{listen}"\nrequire_callers = false\n{TLS}'
    assert refused(open_to_all).startswith("grpc: require_callers: off loopback")


@pytest.mark.parametrize("listen", HERE)
def test_this_machine_needs_nothing(listen: str) -> None:
    grpc = load(f'[grpc]\nlisten = "{listen}"\n').grpc
    assert (grpc.listen, grpc.tls) == (listen, None)
    assert not grpc.callers_required
    assert grpc.serves_reflection


def test_what_this_machine_may_have_all_the_same() -> None:
    grpc = load(f"[grpc]\nrequire_callers = true\nreflection = false\n{MTLS}").grpc
    assert grpc.callers_required
    assert not grpc.serves_reflection
    assert grpc.tls == ServerTls(Path("server.pem"), Path("server.key"), Path("ca.pem"))


def test_reflection_elsewhere_is_a_choice() -> None:
    assert load(f'[grpc]\nlisten = "0.0.0.0:1"\nreflection = true\n{TLS}').grpc.serves_reflection


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("[grpc.tls]\ncertificate_file = 'a'\n", "grpc.tls.key_file"),
        ("[grpc.tls]\nkey_file = 'a'\n", "grpc.tls.certificate_file"),
        ("[gateway.tls]\nkey_file = 'a'\n", "gateway.tls.certificate_file"),
        (MTLS + "verify = false\n", "grpc.tls.verify"),
        ("[gateway.credentials]\npassword = 'a'\n", "gateway.credentials.password"),
        ("[callers]\nfiles = 'a'\n", "callers.files"),
    ],
)
def test_a_key_that_is_wrong_or_missing_is_named(table: str, key: str) -> None:
    assert key in [line.split(": ")[0] for line in refused(table).splitlines()]


def test_where_the_callers_are() -> None:
    assert load(None).callers_file == Path(".wxauth/callers.json")
    assert load('[store]\ndirectory = "data"\n').callers_file == Path("data/callers.json")
    assert load('[callers]\nfile = "/etc/callers.json"\n').callers_file == Path("/etc/callers.json")


# --- The gateway ---------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "example.com:8080"])
def test_a_gateway_for_other_machines(listen: str) -> None:
    head = f'[gateway]\nlisten = "{listen}"\n'
    assert "would travel in the open" in refused(head)
    assert load(head + TLS).gateway.tls is not None
    assert load(head + "plain_http = true\n").gateway.tls is None


def test_who_the_gateway_is() -> None:
    text = '[gateway.credentials]\nca_file = "ca.pem"\ntoken_file = "gateway.token"\n'
    assert load(text).gateway.credentials == Credentials(
        ca_file=Path("ca.pem"), token_file=Path("gateway.token")
    )


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ('certificate_file = "a"\n', "certificate_file and key_file go together"),
        ('server_name = "a"\n', "need ca_file"),
        (f'token = "{TOKEN}"\ntoken_file = "a"\n', "one of token and token_file"),
        (f'token = "{TOKEN}x"\n', "not a token of wxauth"),
    ],
)
def test_credentials_that_cannot_be(keys: str, problem: str) -> None:
    text = refused(f"[gateway.credentials]\n{keys}")
    assert text.startswith("gateway.credentials: ")
    assert problem in text
    assert TOKEN not in text


def test_credentials_of_the_environment_are_those_of_the_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert load_configuration().gateway.credentials == Credentials()
    monkeypatch.setenv("WXAUTH_CA_FILE", "ca.pem")
    assert load_configuration().gateway.credentials == Credentials(ca_file=Path("ca.pem"))
    # Of the file alone, where it says anything.
    assert load("[gateway.credentials]\n").gateway.credentials == Credentials()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"WXAUTH_TOKEN": f"{TOKEN}x"}, "not a token of wxauth"),
        ({"WXAUTH_TOKEN": TOKEN, "WXAUTH_TOKEN_FILE": "a"}, "one of token and token_file"),
        ({"WXAUTH_KEY_FILE": "a"}, "go together"),
    ],
)
def test_variables_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=problem) as refusal:
        load_configuration()
    assert TOKEN not in str(refusal.value)

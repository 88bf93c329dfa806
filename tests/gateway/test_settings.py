"""Where the gateway may listen, and with what."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from wxauth_client.certificates import ServerTls
from wxauth_gateway.settings import GatewaySettings

TLS = ServerTls(Path("gw.pem"), Path("gw.key"))


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "10.0.0.1:80", "gateway.example:80"]
)
def test_off_loopback(listen: str) -> None:
    with pytest.raises(ValidationError) as refused:
        GatewaySettings(listen=listen)
    text = str(refused.value)
    assert f"listen: {listen} is not loopback" in text
    for key in ("gateway.tls.certificate_file", "gateway.tls.key_file", "plain_http"):
        assert key in text
    assert GatewaySettings(listen=listen, tls=TLS).listen == listen
    assert GatewaySettings(listen=listen, plain_http=True).listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.2:0", "localhost:8080", "[::1]:8080"])
def test_on_loopback(listen: str) -> None:
    for more in ({}, {"tls": TLS}, {"plain_http": True}):
        assert GatewaySettings.model_validate({"listen": listen, **more}).is_loopback


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "0.0.0.0:8080"])
def test_plain_and_tls_at_once(listen: str) -> None:
    with pytest.raises(ValidationError, match="leave out one of the two"):
        GatewaySettings(listen=listen, tls=TLS, plain_http=True)


@pytest.mark.parametrize(
    "table",
    [
        {"certificate_file": "gw.pem"},
        {"key_file": "gw.key"},
        {"certificate_file": "gw.pem", "key_file": "gw.key", "ca_file": "ca.pem"},
    ],
)
def test_a_table_of_tls_that_is_not_one(table: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=r"tls\."):
        GatewaySettings.model_validate({"tls": table})

"""The gateway's part of the configuration, the table [gateway]."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from wxauth_client.certificates import ServerTls
from wxauth_client.credentials import Credentials
from wxauth_client.target import is_loopback, split_address


def _host_port(value: str) -> str:
    split_address(value)
    return value


# Nothing that browsers never send, such as a capital letter, a path or a "*": it
# would match nobody, and whoever wrote it meant something else.
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:(?P<port>[1-9][0-9]{0,4}))?"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def _origin(value: str) -> str:
    match = _ORIGIN.fullmatch(value)
    if match is None or int(match["port"] or 0) > 65_535:
        raise ValueError(
            "must be an origin as browsers send it, such as https://www.example.com: "
            "scheme, host and perhaps a port, in small letters, without a slash at the end"
        )
    if match["port"] == _DEFAULT_PORTS[match["scheme"]]:
        raise ValueError("browsers leave this port out, since it is the usual one: do the same")
    return value


class GatewaySettings(BaseModel):
    """How to run the gateway; the defaults are for development."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    listen: Annotated[str, AfterValidator(_host_port)] = Field(
        default="127.0.0.1:8080", description="HOST:PORT to listen on; port 0 takes a free one."
    )
    server: str = Field(
        default="127.0.0.1:50051",
        min_length=1,
        description="The gRPC server: HOST:PORT or another gRPC target, such as dns:///wxauth:50051.",
    )
    tls: ServerTls | None = Field(
        default=None,
        description="Certificate and key to serve HTTPS with. With client_ca_file only who has a "
        "certificate of it gets in: the proxies in front, say.",
    )
    plain_http: bool = Field(
        default=False,
        description="Serve plain HTTP off loopback all the same: a proxy of yours in front speaks "
        "TLS with the mini-program, and the network between is yours.",
    )
    credentials: Credentials = Field(
        default_factory=Credentials.from_environment,
        description="How the server is reached off loopback, and what proves this gateway to it. "
        "Default: the variables WXAUTH_CA_FILE, WXAUTH_TOKEN_FILE and so on.",
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(),
        description="Origins whose pages may call the gateway, such as https://www.example.com. "
        "A mini-program needs none.",
    )
    allow_get_login: bool = Field(
        default=False,
        description="Also accept GET /login?username=&password=&code=. A password in a URL "
        "ends up in the logs and histories of whatever handles it: for demonstrations only.",
    )

    trusted_hops: int = Field(
        default=0,
        ge=0,
        le=10,
        description="How many proxies of yours a request passes before the gateway. With 0 a "
        "client's address is the one that connects; with more it is the one so many places "
        "from the right of X-Forwarded-For, and only those proxies may reach the gateway.",
    )

    @model_validator(mode="after")
    def _safe_off_loopback(self) -> Self:
        if self.tls is not None and self.plain_http:
            raise ValueError(
                "plain_http: the gateway serves HTTPS, since gateway.tls is given: "
                "leave out one of the two"
            )
        if self.tls is None and not self.plain_http and not self.is_loopback:
            raise ValueError(
                f"listen: {self.listen} is not loopback: passwords and SessionIds would travel in "
                "the open. Give gateway.tls.certificate_file and gateway.tls.key_file, or, behind "
                "a proxy of yours that speaks TLS, plain_http = true (docs/tls.md)"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.listen_host)

    @property
    def listen_host(self) -> str:
        return split_address(self.listen)[0].removeprefix("[").removesuffix("]")

    @property
    def listen_port(self) -> int:
        return split_address(self.listen)[1]

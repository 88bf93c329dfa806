"""The gateway's part of the configuration, the table [gateway]."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _host_port(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address stands in brackets, such as [::1]:8080")
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

    @property
    def listen_host(self) -> str:
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def listen_port(self) -> int:
        return int(self.listen.rpartition(":")[2])

"""Names that `wxauth dev-ca` makes certificates for."""

from __future__ import annotations

import ipaddress
import re

from wxauth_server.development_ca import CA, SERVER

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
#: RFC 1035 section 2.3.4, without the last dot.
_MAX_DNS_CHARS = 253
#: X.520's limit of a common name, and that of a caller's name.
_MAX_CLIENT_CHARS = 64


def server_name(text: str) -> str:
    """A DNS name or an IP address that a server is reached by, in its usual form.

    Raises: ValueError.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _dns_name(text.lower())
    if address.is_unspecified:
        raise ValueError("it means every address; give the one, or the name, that callers use")
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        raise ValueError("an address with a zone means something on one machine only")
    return str(address)


def client_name(text: str) -> str:
    """The name of a caller: of its files, and the DNS name in its certificate.

    Raises: ValueError.
    """
    if text in {CA, SERVER}:
        raise ValueError(f"{text}.pem and {text}.key are other files of the directory")
    if len(text) > _MAX_CLIENT_CHARS:
        raise ValueError(f"it is longer than {_MAX_CLIENT_CHARS} characters")
    return _dns_name(text)


def _dns_name(text: str) -> str:
    labels = text.split(".")
    if (
        len(text) > _MAX_DNS_CHARS
        or not all(_LABEL.fullmatch(label) for label in labels)
        or labels[-1].isdecimal()  # a mistyped IP address
    ):
        raise ValueError(
            "not a DNS name: letters a to z, digits and hyphens, with dots between; no port, no "
            "wildcard"
        )
    return text

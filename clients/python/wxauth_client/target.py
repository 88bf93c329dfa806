"""Addresses and gRPC targets: their parts, and whether they lead off this machine."""

from __future__ import annotations

import ipaddress
import re

# As gRPC reads them (doc/naming.md): a scheme it does not know is none, and the
# whole is a name for DNS.
_UNIX = re.compile(r"unix(?:-abstract)?:.+")
_DNS = re.compile(r"(?:dns:(?:///)?)?(?P<hosts>[^/]+)")
_ADDRESSES = re.compile(r"ipv[46]:(?:///)?(?P<hosts>[^/]+)")
_HOST = re.compile(r"(?P<bare>[^\[\]:]+)(?::[0-9]+)?|\[(?P<bracketed>[^\[\]]+)\](?::[0-9]+)?")


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT as its parts, an IPv6 address with its brackets; port 0 means any free one.

    Raises: ValueError.
    """
    host, _, port = address.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError("not an address; write it as HOST:PORT, such as 127.0.0.1:50051")
    if ":" in host and not _is_bracketed(host):
        raise ValueError("not an address; an IPv6 address stands in brackets, such as [::1]:50051")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: 127.0.0.0/8, ::1 or `localhost`.

    An IPv6 address may stand in brackets. Other names are not looked up.
    """
    try:
        return ipaddress.ip_address(host[1:-1] if _is_bracketed(host) else host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_on_this_machine(target: str) -> bool:
    """Whether what is sent there stays here: loopback, `localhost` or a socket of Unix.

    False for what it cannot tell, such as a name that a given DNS server resolves.
    """
    if _UNIX.fullmatch(target):
        return True
    found = _ADDRESSES.fullmatch(target) or _DNS.fullmatch(target)
    return found is not None and all(map(_is_here, found["hosts"].split(",")))


def _is_here(host_port: str) -> bool:
    found = _HOST.fullmatch(host_port)
    # What is no host with a port may be an IPv6 address without one.
    return is_loopback(found["bare"] or found["bracketed"] if found else host_port)


def _is_bracketed(host: str) -> bool:
    return host.startswith("[") and host.endswith("]")

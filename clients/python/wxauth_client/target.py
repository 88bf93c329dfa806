"""Where a gRPC target leads: to this machine, or off it."""

from __future__ import annotations

import ipaddress
import re

# As gRPC reads them (doc/naming.md): a scheme it does not know is none, and the
# whole is a name for DNS.
_UNIX = re.compile(r"unix(?:-abstract)?:.+")
_DNS = re.compile(r"(?:dns:(?:///)?)?(?P<hosts>[^/]+)")
_ADDRESSES = re.compile(r"ipv[46]:(?:///)?(?P<hosts>[^/]+)")
_HOST = re.compile(r"(?P<bare>[^\[\]:]+)(?::[0-9]+)?|\[(?P<bracketed>[^\[\]]+)\](?::[0-9]+)?")


def is_on_this_machine(target: str) -> bool:
    """Whether what is sent there stays here: loopback, `localhost` or a socket of Unix.

    False for what it cannot tell, such as a name that a given DNS server resolves.
    """
    if _UNIX.fullmatch(target):
        return True
    found = _ADDRESSES.fullmatch(target) or _DNS.fullmatch(target)
    return found is not None and all(_is_loopback(host) for host in found["hosts"].split(","))


def _is_loopback(host_port: str) -> bool:
    try:
        return ipaddress.ip_address(host_port).is_loopback  # an IPv6 address without a port
    except ValueError:
        found = _HOST.fullmatch(host_port)
    if found is None:
        return False
    host = found["bare"] or found["bracketed"]
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"

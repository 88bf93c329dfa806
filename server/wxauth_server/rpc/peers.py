"""The address in what gRPC calls a peer."""

from __future__ import annotations

import ipaddress
import urllib.parse


def peer_address(peer: str) -> str:
    """The IP address of a peer such as ipv4:127.0.0.1:50123; empty for one without."""
    kind, _, address = peer.partition(":")
    if kind not in {"ipv4", "ipv6"}:
        return ""
    host = urllib.parse.unquote(address).rpartition(":")[0].strip("[]")
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""

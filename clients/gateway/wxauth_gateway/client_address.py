"""Where a request comes from: the socket's peer, or what trusted proxies say of it.

The server throttles by this address, so nobody may choose their own: in
X-Forwarded-For each proxy appends the address that it was called from, and only
what our own proxies appended counts. The rest, to the left, anybody can send.
"""

from __future__ import annotations

import ipaddress
import logging
import re

from starlette.types import Scope

from wxauth_gateway.inbound_headers import forwarded_for

logger = logging.getLogger("wxauth.gateway")

# An address and perhaps a port, as proxies write them: 192.0.2.1, 192.0.2.1:5060,
# 2001:db8::1, [2001:db8::1], [2001:db8::1]:5060.
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[^:\[\]]+))(?::[0-9]{1,5})?")


class ClientAddress:
    """Says where a request comes from.

    `trusted_hops` is how many proxies of ours a request passes: 0 takes the
    socket's peer, n the n-th address from the right of X-Forwarded-For.
    """

    def __init__(self, trusted_hops: int) -> None:
        self._trusted_hops = trusted_hops
        self._warned = False

    def of(self, scope: Scope) -> str:
        """The address, or "" if it is not known; that is logged, the first time."""
        if not self._trusted_hops:
            peer = scope.get("client")
            return peer[0].partition("%")[0] if peer else ""
        entries = forwarded_for(scope).decode("latin-1").rsplit(",", self._trusted_hops)
        # What is left of our own entries, if anything, is in the first part.
        position = len(entries) - self._trusted_hops
        address = parse_address(entries[position].strip(" \t")) if position >= 0 else ""
        if not address and not self._warned:
            self._warned = True
            logger.warning(
                "X-Forwarded-For names no address at place %d from the right: "
                "gateway.trusted_hops is not the number of proxies, or one of them does "
                "not append to it. Such requests have no address. Told only once.",
                self._trusted_hops,
            )
        return address


def parse_address(text: str) -> str:
    """The IP address in an entry of X-Forwarded-For, in its one usual form; "" if it is none.

    A port and brackets are taken off. An IPv4 address within IPv6 is the IPv4
    one. A zone, which means something on one machine only, makes it none.
    """
    bracketed = _WITH_PORT.fullmatch(text)
    if bracketed is not None:
        text = bracketed["v6"] or bracketed["v4"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return ""
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
    return str(address)

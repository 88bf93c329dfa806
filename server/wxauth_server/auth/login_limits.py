"""Before step 3: how many logins there may be, of one address and in all.

Looked at before a code is spent, in memory: each server process has limits of
its own. What holds across processes is the protection of passwords
(accounts/throttle.py).
"""

from __future__ import annotations

import ipaddress
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wxauth_server.errors import Throttled
from wxauth_server.rate import SteadyRate

log = logging.getLogger("wxauth.auth")

#: Addresses that are remembered, about 300 bytes each. Whoever is forgotten has not
#: come for long, or the flood is for the limit of all.
_MOST_ADDRESSES = 50_000
#: A customer of an internet provider has a whole network of IPv6 (RFC 6177).
_IPV6_PREFIX = 64


@dataclass(frozen=True)
class LoginLimits:
    """Logins, with a password or without; each number may also come at once."""

    #: Of one address, in a minute.
    of_address_per_minute: int = 60
    #: Of all together, in a second.
    of_all_per_s: int = 500


class TooManyFrom(Throttled):
    """One address is over its limit."""


class TooManyOfAll(Throttled):
    """All together are over their limit."""


class LoginGate:
    """Lets logins pass at a steady rate. For one event loop; about a microsecond each."""

    def __init__(self, limits: LoginLimits, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._limits = limits
        self._of_all = SteadyRate(limits.of_all_per_s, 1)
        # The address that came last is last.
        self._of_address: OrderedDict[str, SteadyRate] = OrderedDict()
        self._warned = False

    def pass_one(self, address: str) -> None:
        """Let a login pass that comes from this address; empty if it is unknown.

        Raises: TooManyFrom, TooManyOfAll.
        """
        now_s = self._monotonic_s()
        network = self._network(address)
        rate = self._of_address.get(network) or SteadyRate(self._limits.of_address_per_minute, 60)
        if wait_s := rate.wait_s(now_s):
            raise TooManyFrom(wait_s)
        if wait_s := self._of_all.wait_s(now_s):
            raise TooManyOfAll(wait_s)
        self._of_all.count(now_s)
        if network:
            rate.count(now_s)
            self._of_address[network] = rate
            self._of_address.move_to_end(network)
            if len(self._of_address) > _MOST_ADDRESSES:
                self._of_address.popitem(last=False)

    def _network(self, address: str) -> str:
        """What counts as one address; empty for what is no user's."""
        if not address:
            return ""
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip
        if not ip.is_global:
            # A proxy's: everybody would count as one.
            if not self._warned:
                self._warned = True
                log.warning(
                    "logins come from a private address and are not limited by address: if a "
                    "proxy is in front of the gateway, set gateway.trusted_hops"
                )
            return ""
        if ip.version == 4:
            return str(ip)
        return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))

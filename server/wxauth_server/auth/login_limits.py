"""Before step 3: how many logins there may be, of one address and in all.

Looked at before a code is spent, in memory: each server process has limits of
its own. What holds across processes is the protection of passwords
(accounts/throttle.py).
"""

from __future__ import annotations

import ipaddress
import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from wxauth_server.errors import Throttled

log = logging.getLogger("wxauth.auth")

#: Addresses that are remembered, about 200 bytes each. Whoever is forgotten has not
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
        self._interval_s = 60 / limits.of_address_per_minute
        # A minute's worth at once but for the first; the rest is for rounding.
        self._tolerance_s = 60 - self._interval_s + 1e-6
        self._interval_of_all_s = 1 / limits.of_all_per_s
        self._tolerance_of_all_s = 1 - self._interval_of_all_s + 1e-6
        # GCRA: when the next login would be due if they came evenly; one may come so
        # much earlier. The address that came last is last.
        self._due_s: OrderedDict[str, float] = OrderedDict()
        self._due_of_all_s = -math.inf
        self._warned = False

    def pass_one(self, address: str) -> None:
        """Let a login pass that comes from this address; empty if it is unknown.

        Raises: TooManyFrom, TooManyOfAll.
        """
        now_s = self._monotonic_s()
        network = self._network(address)
        due_s = max(self._due_s.get(network, now_s), now_s) if network else now_s
        if (early_s := due_s - now_s - self._tolerance_s) > 0:
            raise TooManyFrom(early_s)
        due_of_all_s = max(self._due_of_all_s, now_s)
        if (early_s := due_of_all_s - now_s - self._tolerance_of_all_s) > 0:
            raise TooManyOfAll(early_s)
        self._due_of_all_s = due_of_all_s + self._interval_of_all_s
        if network:
            self._due_s[network] = due_s + self._interval_s
            self._due_s.move_to_end(network)
            if len(self._due_s) > _MOST_ADDRESSES:
                self._due_s.popitem(last=False)

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

"""Token buckets per client network, for bad requests only: a good link never meets a limit. Pure; time is handed in."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_BUCKETS = 65_536


class RateLimiter:
    """`rate` requests a second and `burst` at once for each /24 (IPv4) or /56 (IPv6)."""

    def __init__(self, rate: float, burst: int, exempt: Sequence[Network]) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._exempt = tuple(exempt)
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, client: str, now: float) -> bool:
        """Count one bad request; False where the client's network has used up its share (`now`: monotonic seconds)."""
        if is_exempt(client, self._exempt):
            return True
        network = network_of(client)
        level, since = self._buckets.pop(network, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.pop(next(iter(self._buckets)))  # the one not used for longest
        self._buckets[network] = (max(level - 1.0, 0.0), now)
        return level >= 1.0


@lru_cache(maxsize=4096)
def network_of(client: str) -> str:
    """The /24 or /56 that an address lies in, as text; of anything else, the text itself."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 56), strict=False))


@lru_cache(maxsize=4096)
def is_exempt(client: str, networks: tuple[Network, ...]) -> bool:
    """Loopback and the listed networks (reverse proxies) have no limit."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return address.is_loopback or any(address in network for network in networks)


def client_of(peer: str, forwarded: str, proxies: tuple[Network, ...]) -> str:
    """The client's address: the last one in X-Forwarded-For that no listed proxy wrote for itself.

    `forwarded` is believed only where the peer is a listed proxy, hop by hop from the right.
    """
    client = peer
    for hop in reversed([text.strip() for text in forwarded.split(",") if text.strip()]):
        if not _in(client, proxies):
            break
        try:
            client = str(ipaddress.ip_address(_without_port(hop)))
        except ValueError:
            break
    return client


def _without_port(hop: str) -> str:
    """Some proxies write ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _in(client: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)

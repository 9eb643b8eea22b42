"""IP addresses and networks as lists and objects name them: one spelling each, and the networks around an address. Pure.

Addresses are in the spelling of a URL's host: dotted IPv4, IPv6 in brackets. Networks are ``192.0.2.0/24`` and
``2001:db8::/32``, without host bits and without brackets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Prefix = tuple[int, int]
"""IP version and prefix length."""

LISTED: tuple[Prefix, ...] = (
    *((4, length) for length in range(31, 7, -1)),
    *((6, length) for length in range(127, 15, -1)),
)
"""Networks that a list may hold, the narrowest first. A wider one would be a tenth of a per cent of the internet or more:
no entry, a mistake. IANA gives registries nothing wider than a /8 and a /12."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: addresses in it lead to the IPv4 address in their last 32 bits."""


def plain_address(host: str) -> str:
    """An IPv6 literal that leads to an IPv4 address as that address; any other host (lower case) as it is."""
    if not host.startswith("["):
        return host
    try:
        address = _plain(ipaddress.IPv6Address(host.strip("[]")))
    except ValueError:
        return host
    return str(address) if address.version == 4 else f"[{address}]"


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if address.version == 4:
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address


def normal_network(text: str) -> str | None:
    """The one spelling of an address or network, host bits dropped; an address has no brackets. None for neither."""
    try:
        network = ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None
    if network.num_addresses == 1:
        return str(_plain(network.network_address))
    return str(network)


def prefix_of(network: str) -> Prefix:
    """Version and length of a network in its normal spelling."""
    address, _, length = network.partition("/")
    return (6 if ":" in address else 4), int(length)


def enclosing(host: str, prefixes: Iterable[Prefix] = LISTED) -> list[str]:
    """The networks around `host` (an address as a URL has it), one for each of `prefixes` of its version."""
    text = host.strip("[]")
    version = 6 if ":" in text else 4
    kind, bits = (ipaddress.IPv6Address, 128) if version == 6 else (ipaddress.IPv4Address, 32)
    number = int(kind(text))
    return [
        f"{kind(number >> (bits - length) << (bits - length))}/{length}"
        for which, length in prefixes
        if which == version
    ]

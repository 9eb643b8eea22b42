"""DNS lists in the style of SURBL, URIBL and Spamhaus DBL. Knows DNS; deadline, cache and breaker are `breaker`'s.

Privacy: the host and its registrable domain go to the resolver, and from there to the list's operator. Never path or query.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.reversename

from reputation.breaker import Found, SourceError
from reputation.forms import Reading, is_address
from toc.url import registrable_domain
from toc.verdict import Level, Match, ThreatType

MIN_TTL, MAX_TTL = 5.0, 3600.0
NEGATIVE_TTL = 300.0
"""Where the answer names no SOA."""

QUERY_SECONDS = 2.0

CODES: Mapping[str, ThreatType] = {
    "127.0.1.2": ThreatType.SPAM,
    "127.0.1.4": ThreatType.PHISHING,
    "127.0.1.5": ThreatType.MALWARE,
    "127.0.1.6": ThreatType.C2,
    "127.0.1.102": ThreatType.ABUSED,
    "127.0.1.103": ThreatType.ABUSED,
    "127.0.1.104": ThreatType.ABUSED,
    "127.0.1.105": ThreatType.ABUSED,
    "127.0.1.106": ThreatType.ABUSED,
}
"""Answers that say more than "listed": Spamhaus DBL return codes. Other lists' codes mean the threat of the setting."""

_LISTED = ipaddress.ip_network("127.0.0.0/8")
_ERRORS = (
    ipaddress.ip_network("127.255.255.0/24"),  # Spamhaus: typing error, open resolver, too many queries
    ipaddress.ip_network("127.0.0.1/32"),  # URIBL, SURBL: query refused
    ipaddress.ip_network("127.0.1.255/32"),  # DBL: addresses must not be asked
)


@dataclass(frozen=True, slots=True)
class Nameserver:
    """A resolver by address, IPv4 or IPv6."""

    address: str
    port: int = 53

    async def exchange(self, name: str, kind: str = "A") -> dns.message.Message:
        """The answer to one question, by UDP and by TCP where it was cut. Raises SourceError."""
        query = dns.message.make_query(name, kind, use_edns=0)
        try:
            answer, _ = await dns.asyncquery.udp_with_fallback(
                query, self.address, timeout=QUERY_SECONDS, port=self.port, ignore_unexpected=True, ignore_errors=True
            )
        except (dns.exception.DNSException, OSError, EOFError) as error:
            raise SourceError(f"{self.address}#{self.port}: {error or type(error).__name__}") from None
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise SourceError(f"{self.address}#{self.port} answers {dns.rcode.to_text(answer.rcode())}")
        return answer


@dataclass(frozen=True, slots=True)
class DnsList:
    """One list.

    zone:      such as ``dbl.example.org``
    addresses: whether it lists IPv4 addresses, too (SURBL does; DBL refuses them)
    """

    name: str
    zone: str
    nameserver: Nameserver
    threat: ThreatType = ThreatType.OTHER
    level: Level = Level.DANGEROUS
    required: bool = False
    addresses: bool = False

    def keys(self, reading: Reading) -> tuple[str, ...]:
        """The names below the zone: the host and its registrable domain, or the address in reverse."""
        host = reading.host
        if is_address(host):
            listed = self.addresses and not host.startswith("[")
            return (".".join(reversed(host.split("."))),) if listed else ()
        names = dict.fromkeys((host, registrable_domain(host)))
        return tuple(key for key in names if can_ask(f"{key}.{self.zone}"))

    async def fetch(self, keys: tuple[str, ...]) -> dict[str, Found]:
        return dict(zip(keys, await asyncio.gather(*map(self._one, keys)), strict=True))

    async def close(self) -> None:
        """Each question has its own socket."""

    async def _one(self, key: str) -> Found:
        answer = await self.nameserver.exchange(f"{key}.{self.zone}")
        codes = [str(item) for row in answer.answer if row.rdtype == dns.rdatatype.A for item in row]
        matches = tuple(self._match(key, code) for code in codes)
        return Found(matches, ttl(answer))

    def _match(self, key: str, code: str) -> Match:
        address = ipaddress.ip_address(code)
        if address not in _LISTED or any(address in network for network in _ERRORS):
            raise SourceError(f"{self.zone} answers {code}: an error at the list's side, no hit")
        threat = CODES.get(code, self.threat)
        return Match(self.name, self.zone, f"{key} = {code}", threat, self.level, "host")


def can_ask(name: str) -> bool:
    """Whether DNS can carry `name`: labels of 1 to 63 octets, 255 in all (RFC 1035 section 2.3.4)."""
    try:
        dns.name.from_text(name)
    except (dns.exception.DNSException, UnicodeError):
        return False
    return True


def ttl(answer: dns.message.Message) -> float:
    """Seconds that an answer may be kept: its shortest TTL, or of a negative one what the SOA says (RFC 2308)."""
    seconds = [float(row.ttl) for row in answer.answer]
    if not seconds:
        soa = [row for row in answer.authority if row.rdtype == dns.rdatatype.SOA]
        seconds = [float(min(row.ttl, row[0].minimum)) for row in soa] or [NEGATIVE_TTL]
    return min(max(min(seconds), MIN_TTL), MAX_TTL)

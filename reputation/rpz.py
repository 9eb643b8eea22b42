"""Response policy zones as a resolver applies them (draft-vixie-dnsop-dns-rpz). Knows how a rewritten answer looks.

A resolver that rewrites an answer names the policy zone by its SOA in the additional section (BIND's ``add-soa``, on by
default). That is the sign that we trust: without it an NXDOMAIN is a name that does not exist.

Privacy: the host goes to the operator's own resolver, which resolves it on a miss as it would for the browser.
"""

from __future__ import annotations

from dataclasses import dataclass

import dns.message
import dns.name
import dns.rdatatype

from reputation.breaker import Found
from reputation.dns import Nameserver, can_ask, ttl
from reputation.forms import Reading, is_address
from toc.verdict import Level, Match, ThreatType


@dataclass(frozen=True, slots=True)
class Rpz:
    """One policy zone behind one resolver. `zone` is its name there, such as ``rpz.example.org``."""

    name: str
    zone: str
    nameserver: Nameserver
    threat: ThreatType = ThreatType.OTHER
    level: Level = Level.DANGEROUS
    required: bool = False

    def keys(self, reading: Reading) -> tuple[str, ...]:
        host = reading.host
        return () if is_address(host) or not can_ask(host) else (host,)

    async def fetch(self, keys: tuple[str, ...]) -> dict[str, Found]:
        return {key: await self._one(key) for key in keys}

    async def close(self) -> None:
        """Each question has its own socket."""

    async def _one(self, host: str) -> Found:
        answer = await self.nameserver.exchange(host + ".")
        if not names_zone(answer, self.zone):
            return Found((), ttl(answer))
        match = Match(self.name, self.zone, host, self.threat, self.level, "host")
        return Found((match,), ttl(answer))


def names_zone(answer: dns.message.Message, zone: str) -> bool:
    """Whether the policy zone's SOA is in the answer: in the additional section, or in the authority of some resolvers."""
    wanted = dns.name.from_text(zone)
    rows = [*answer.additional, *answer.authority]
    return any(row.rdtype == dns.rdatatype.SOA and row.name == wanted for row in rows)

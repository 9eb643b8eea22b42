"""The live sources of the settings, ready to be asked by one event loop."""

from __future__ import annotations

import random
import re
import time

from reputation import peers, safe_browsing
from reputation.breaker import LiveSource, Patience
from reputation.dns import DnsList, Nameserver
from reputation.http_source import HttpSource
from reputation.peers import Peers
from reputation.rpz import Rpz
from reputation.safe_browsing import SafeBrowsing
from toc.config import Config, DnsListSettings, PeerSettings, SafeBrowsingSettings
from toc.errors import BadUrl, ConfigError
from toc.url import host_address, parse
from toc.verdict import Level, ThreatType

SAFE_BROWSING_SECONDS = 2.0
"""For one question; a click waits no longer than `[reputation] deadline_ms`."""

_NAMESERVER = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+(?=:\d)|[0-9a-fA-F:.]+(?:%\w+)?))(?::(\d{1,5}))?")
_THREATS = {threat.value: threat for threat in ThreatType}


def live_sources(config: Config) -> list[LiveSource]:
    """Raises ConfigError for a name server that is no address, or a server that is no URL."""
    rng = random.Random()  # noqa: S311 - spreads waiting, hides nothing
    found = [LiveSource(_dns(row), clock=time.monotonic, rng=rng) for row in config.reputation.dns]
    google = config.reputation.safe_browsing
    if google.api_key:
        wire = _safe_browsing(google)
        found.append(LiveSource(wire, clock=time.monotonic, rng=rng, patience=safe_browsing.PATIENCE))
    for row in config.reputation.peers:
        patience = Patience(limit=row.timeout_ms / 1000 * len(row.servers) + 1)
        found.append(LiveSource(_peers(row, rng), clock=time.monotonic, rng=rng, patience=patience, peer=True))
    return found


def _safe_browsing(row: SafeBrowsingSettings) -> SafeBrowsing:
    headers = {"X-Goog-Api-Key": row.api_key}
    server = _server(row.url, "[reputation.safe_browsing]", headers, SAFE_BROWSING_SECONDS, row.proxy)
    return SafeBrowsing(server, Level.of(row.level), row.required)


def _peers(row: PeerSettings, rng: random.Random) -> Peers:
    headers = {peers.HEADER: "1"} | ({"Authorization": f"Bearer {row.api_key}"} if row.api_key else {})
    place = f"[[reputation.peers]] {row.name}"
    return Peers(
        row.name,
        [_server(url, place, headers, row.timeout_ms / 1000, row.proxy) for url in row.servers],
        clock=time.monotonic,
        rng=rng,
        share_url=row.share == "url",
        approvals=row.approvals,
        required=row.required,
    )


def _server(text: str, place: str, headers: dict[str, str], seconds: float, proxy: str) -> HttpSource:
    try:
        url = parse(text)
    except BadUrl:
        raise ConfigError(f"{place}: {text!r} is no http(s) URL") from None
    return HttpSource(url.href, headers=headers, seconds=seconds, proxy=proxy)


def _dns(row: DnsListSettings) -> DnsList | Rpz:
    server = _nameserver(row)
    threat = _THREATS.get(row.threat, ThreatType.OTHER)
    level = Level.of(row.level)
    if row.kind == "rpz":
        return Rpz(row.name, row.zone, server, threat, level, row.required)
    return DnsList(row.name, row.zone, server, threat, level, row.required)


def _nameserver(row: DnsListSettings) -> Nameserver:
    """``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1``, ``[2001:db8::1]:5353``."""
    found = _NAMESERVER.fullmatch(row.nameserver)
    address = host_address(found[1] or found[2]) if found else None
    port = int(found[3] or 53) if found else 0
    if address is None or not 0 < port < 65536:
        raise ConfigError(
            f"[[reputation.dns]] {row.name}: nameserver {row.nameserver!r} must be ADDRESS or ADDRESS:PORT"
        )
    return Nameserver(str(address), port)

"""The live sources of the settings, ready to be asked by one event loop."""

from __future__ import annotations

import random
import time

from reputation.breaker import LiveSource
from reputation.dns import DnsList, Nameserver
from reputation.rpz import Rpz
from toc.config import Config, DnsListSettings
from toc.errors import ConfigError
from toc.verdict import Level, ThreatType

_THREATS = {threat.value: threat for threat in ThreatType}


def live_sources(config: Config) -> list[LiveSource]:
    """Raises ConfigError for a name server that is no address."""
    return [
        LiveSource(_wire(row), clock=time.monotonic, rng=random.Random())  # noqa: S311 - spreads waiting, hides nothing
        for row in config.reputation.dns
    ]


def _wire(row: DnsListSettings) -> DnsList | Rpz:
    server = _nameserver(row)
    threat = _THREATS.get(row.threat, ThreatType.OTHER)
    level = Level.of(row.level)
    if row.kind == "rpz":
        return Rpz(row.name, row.zone, server, threat, level, row.required)
    return DnsList(row.name, row.zone, server, threat, level, row.required)


def _nameserver(row: DnsListSettings) -> Nameserver:
    address, colon, port = row.nameserver.rpartition(":")
    if not colon or not port.isdigit():
        return Nameserver(row.nameserver)
    if not address:
        raise ConfigError(
            f"[[reputation.dns]] {row.name}: nameserver {row.nameserver!r} must be ADDRESS or ADDRESS:PORT"
        )
    return Nameserver(address.strip("[]"), int(port))

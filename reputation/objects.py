"""Suspicious objects and approved entries: what one is, which are refused, and what a URL meets among them. Pure.

    url     the exact URL: host, path and query equal; one without a query covers every query of its path
    domain  the host and its sub-hosts, by label;  ``*.example.com`` the sub-hosts only
    ip      an address or a network, for hosts that are addresses
    file_sha1, file_sha256   kept and exchanged, never matched here

Scheme, port, userinfo and fragment of a URL never matter: an object against ``http://…`` meets ``https://…`` too.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from reputation.forms import expressions, host_suffixes
from toc.errors import BadUrl, Invalid
from toc.url import Url, ascii_host, parse, public_suffixes
from toc.verdict import Level, Match, MatchKind, ThreatType

SOURCE = "objects"
_Word = TypeVar("_Word", bound=StrEnum)


class ObjectType(StrEnum):
    URL = "url"
    DOMAIN = "domain"
    IP = "ip"
    FILE_SHA1 = "file_sha1"
    FILE_SHA256 = "file_sha256"


class ObjectAction(StrEnum):
    BLOCK = "block"
    WARN = "warn"
    LOG = "log"
    ALLOW = "allow"
    OVERRIDE = "override"


EFFECT: Mapping[str, tuple[MatchKind, Level]] = {
    ObjectAction.BLOCK: (MatchKind.THREAT, Level.DANGEROUS),
    ObjectAction.WARN: (MatchKind.THREAT, Level.SUSPICIOUS),
    ObjectAction.LOG: (MatchKind.LOGGED, Level.UNTESTED),
    ObjectAction.ALLOW: (MatchKind.APPROVED, Level.SAFE),
    ObjectAction.OVERRIDE: (MatchKind.OVERRIDE, Level.SAFE),
}
RISK_LEVELS = ("high", "medium", "low")
_DIGEST_LENGTH = {ObjectType.FILE_SHA1: 40, ObjectType.FILE_SHA256: 64}


@dataclass(frozen=True, slots=True)
class Object:
    """One row. `value` is in its normal form; `expires` is None for one that never does. Times in UTC."""

    id: str
    type: str
    value: str
    action: str
    risk_level: str | None
    note: str
    source: str
    owner: str
    created: datetime
    expires: datetime | None


def parse_object(fields: Mapping[str, object], *, object_id: str, created: datetime) -> Object:
    """An object from what a person, a call or a file gives. Raises Invalid: what is wrong and what to do."""
    kind = _choice(fields.get("type"), ObjectType, "type")
    action = _choice(fields.get("action") or ObjectAction.BLOCK, ObjectAction, "action")
    value = normal_value(kind, str(fields.get("value") or ""))
    risk = fields.get("risk_level") or None
    if risk is not None and risk not in RISK_LEVELS:
        raise Invalid(f"risk_level {risk!r} is none of {', '.join(RISK_LEVELS)}")
    expires = _moment(fields.get("expires"))
    owner = str(fields.get("owner") or "")
    if action is ObjectAction.OVERRIDE and (not owner or expires is None):
        raise Invalid("an override beats threat lists: it needs owner and expires")
    return Object(
        id=object_id,
        type=kind.value,
        value=value,
        action=action.value,
        risk_level=str(risk) if risk else None,
        note=str(fields.get("note") or "")[:2000],
        source=str(fields.get("source") or "")[:200],
        owner=owner[:200],
        created=created,
        expires=expires,
    )


def normal_value(kind: ObjectType, text: str) -> str:
    """The one spelling under which a value is stored and matched. Raises Invalid."""
    text = text.strip()
    if not text:
        raise Invalid("value is empty")
    if kind is ObjectType.URL:
        try:
            return parse(text if "://" in text else f"http://{text}").href
        except BadUrl as error:
            raise Invalid(f"value {text[:200]!r} is no http(s) URL: {error}") from None
    if kind is ObjectType.DOMAIN:
        return _normal_domain(text)
    if kind is ObjectType.IP:
        try:
            network = ipaddress.ip_network(text.strip("[]"), strict=False)
        except ValueError:
            raise Invalid(f"value {text[:80]!r} is neither an address nor a network such as 192.0.2.0/24") from None
        return str(network.network_address if network.num_addresses == 1 else network)
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGEST_LENGTH[kind]}}}", text):
        raise Invalid(f"value {text[:80]!r} is no {kind.value}: {_DIGEST_LENGTH[kind]} hex digits")
    return text.lower()


def _normal_domain(text: str) -> str:
    star = "*." if text.startswith("*.") else ""
    host = ascii_host(text.removeprefix("*.").strip("."))
    if host is None or "*" in host:
        raise Invalid(f"value {text[:200]!r} is no domain; *.example.com covers the sub-hosts of example.com")
    if host.startswith("[") or host[-1:].isdigit():
        raise Invalid(f"value {text[:80]!r} is an address: use the type ip")
    return star + host


def breadth_warning(found: Object, top_sites: frozenset[str] = frozenset()) -> str | None:
    """What a person should think twice about: an entry that covers far more than one site. None for an ordinary one."""
    if found.type == ObjectType.IP and "/" in found.value:
        network = ipaddress.ip_network(found.value)
        if network.prefixlen < (16 if network.version == 4 else 32):
            return f"{found.value} covers {network.num_addresses:,} addresses"
    if found.type != ObjectType.DOMAIN:
        return None
    host = found.value.removeprefix("*.")
    if host in public_suffixes() or "." not in host:
        return f"{found.value} covers every domain below {host}, which belong to many owners"
    if host in top_sites:
        return f"{host} is on the list of popular sites"
    return None


@dataclass(frozen=True, slots=True)
class ObjectSet:
    """All objects, ready to be asked. Immutable: a change makes a new set, which replaces the old one whole."""

    hosts: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    below: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    urls: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    addresses: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)
    networks: tuple[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, Object], ...] = ()

    @classmethod
    def of(cls, objects: Iterable[Object]) -> ObjectSet:
        hosts: dict[str, tuple[Object, ...]] = {}
        below: dict[str, tuple[Object, ...]] = {}
        urls: dict[str, tuple[Object, ...]] = {}
        addresses: dict[str, tuple[Object, ...]] = {}
        networks = []
        for item in objects:
            if item.type == ObjectType.DOMAIN:
                table, key = (below, item.value[2:]) if item.value.startswith("*.") else (hosts, item.value)
            elif item.type == ObjectType.URL:
                table, key = urls, expressions(item.value)[0]
            elif item.type == ObjectType.IP and "/" in item.value:
                networks.append((ipaddress.ip_network(item.value), item))
                continue
            elif item.type == ObjectType.IP:
                table, key = addresses, item.value
            else:
                continue
            table[key] = (*table.get(key, ()), item)
        return cls(hosts, below, urls, addresses, tuple(networks))

    def match(self, url: Url, expressions: Sequence[str], now: datetime) -> list[Match]:
        """Every object that `url` meets and that has not expired. `expressions`: Safe Browsing's, exact one first."""
        found: list[tuple[Object, str]] = []
        if self.urls:
            for expression in expressions[: 2 if url.query else 1]:
                found += [(item, "url") for item in self.urls.get(expression, ())]
        if url.is_ip:
            found += self._of_address(url.host.strip("[]"))
        elif self.hosts or self.below:
            suffixes = host_suffixes(url.host.rstrip("."))
            for place, suffix in enumerate(suffixes):
                found += [(item, "host") for item in self.hosts.get(suffix, ())]
                if place:
                    found += [(item, "host") for item in self.below.get(suffix, ())]
        return [_match(item, form) for item, form in found if item.expires is None or item.expires > now]

    def _of_address(self, text: str) -> list[tuple[Object, str]]:
        found = [(item, "ip") for item in self.addresses.get(text, ())]
        if self.networks:
            address = ipaddress.ip_address(text)
            found += [(item, "ip") for network, item in self.networks if address in network]
        return found


def _match(found: Object, form: str) -> Match:
    kind, level = EFFECT[found.action]
    return Match(SOURCE, found.id, found.value, ThreatType.SUSPICIOUS_OBJECT, level, form, kind)


def _choice(value: object, words: type[_Word], name: str) -> _Word:
    try:
        return words(str(value).lower())
    except ValueError:
        raise Invalid(f"{name} {str(value)[:40]!r} is none of {', '.join(words)}") from None


def _moment(value: object) -> datetime | None:
    """RFC 3339; a time without a zone is UTC, as the consoles that export it mean it."""
    if value in (None, "", "None"):
        return None
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise Invalid(f"expires {str(value)[:40]!r} is no time such as 2027-01-31T00:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)

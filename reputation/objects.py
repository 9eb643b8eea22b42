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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from reputation.addresses import Prefix, enclosing, normal_network, prefix_of
from reputation.forms import Reading, plain_host
from reputation.hosting import SHARED, TOP_SITES
from toc.errors import BadUrl, Invalid
from toc.url import ascii_host, parse, public_suffixes
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
        return _normal_url(text)
    if kind is ObjectType.DOMAIN:
        return _normal_domain(text)
    if kind is ObjectType.IP:
        network = normal_network(text)
        if network is None:
            raise Invalid(f"value {text[:80]!r} is neither an address nor a network such as 192.0.2.0/24")
        return network
    if not re.fullmatch(rf"[0-9a-fA-F]{{{_DIGEST_LENGTH[kind]}}}", text):
        raise Invalid(f"value {text[:80]!r} is no {kind.value}: {_DIGEST_LENGTH[kind]} hex digits")
    return text.lower()


def _normal_url(text: str) -> str:
    try:
        url = parse(text if "://" in text else f"http://{text}")
    except BadUrl as error:
        raise Invalid(f"value {text[:200]!r} is no http(s) URL: {error}") from None
    if url.userinfo and "://" not in text:  # mailto:a@b.example
        raise Invalid(f"value {text[:200]!r} is no http(s) URL: begin it with http:// or https://")
    if "*" in url.host or url.path == "/*":
        raise Invalid(
            f"value {text[:200]!r}: a URL is exact; a whole site is of the type domain: example.com, *.example.com"
        )
    return url.href


def _normal_domain(text: str) -> str:
    star = "*." if text.startswith("*.") else ""
    host = ascii_host(text.removeprefix("*.").strip("."))
    if host is None or "*" in host:
        raise Invalid(f"value {text[:200]!r} is no domain; *.example.com covers the sub-hosts of example.com")
    if host.startswith("[") or host[-1:].isdigit():
        raise Invalid(f"value {text[:80]!r} is an address: use the type ip")
    return star + plain_host(host)


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
    if host in SHARED:
        return f"{host} covers pages of many owners"
    if host in top_sites or host in TOP_SITES:
        return f"{host} is on the list of popular sites"
    return None


def breadth_warnings(objects: Iterable[Object], top_sites: frozenset[str] = frozenset()) -> Iterator[str]:
    """`breadth_warning` of each that has one."""
    return (warning for item in objects if (warning := breadth_warning(item, top_sites)) is not None)


_Table = Mapping[str, tuple[Object, ...]]


@dataclass(frozen=True, slots=True)
class ObjectSet:
    """All objects, ready to be asked. Immutable: a change makes a new set, which replaces the old one whole.

    hosts:     domains by their host, wildcards by the host behind the star
    urls:      by host; `expressions` says which expression each of them is
    addresses: addresses and networks by their one spelling      prefixes: of the networks among them
    generation: id of this set, empty as long as none was ever read
    """

    hosts: _Table = field(default_factory=dict)
    urls: _Table = field(default_factory=dict)
    expressions: Mapping[str, str] = field(default_factory=dict)
    addresses: _Table = field(default_factory=dict)
    prefixes: frozenset[Prefix] = frozenset()
    generation: str = ""

    @classmethod
    def of(cls, objects: Iterable[Object], generation: str = "") -> ObjectSet:
        hosts: dict[str, tuple[Object, ...]] = {}
        urls: dict[str, tuple[Object, ...]] = {}
        expressions: dict[str, str] = {}
        addresses: dict[str, tuple[Object, ...]] = {}
        for item in objects:
            match item.type:
                case ObjectType.DOMAIN:
                    table, key = hosts, item.value.removeprefix("*.")
                case ObjectType.URL:
                    reading = Reading(parse(item.value))
                    table, key = urls, reading.host
                    expressions[item.value] = reading.expressions[0]
                case ObjectType.IP:
                    table, key = addresses, item.value
                case _:
                    continue
            table[key] = (*table.get(key, ()), item)
        prefixes = frozenset(prefix_of(key) for key in addresses if "/" in key)
        return cls(hosts, urls, expressions, addresses, prefixes, generation)

    def match(self, reading: Reading, now: datetime) -> list[Match]:
        """Every object that the URL of `reading` meets and that has not expired."""
        host = reading.host
        found: list[tuple[Object, str]] = []
        if rows := self.urls.get(host):
            met = reading.expressions[: 2 if reading.url.query else 1]
            found += [(item, "url") for item in rows if self.expressions[item.value] in met]
        if not self.hosts.keys().isdisjoint(reading.suffixes):
            for suffix in reading.suffixes:
                rows = self.hosts.get(suffix, ())
                found += [(item, "host") for item in rows if suffix != host or not item.value.startswith("*.")]
        if self.addresses and reading.is_address:
            found += [(item, "ip") for key in self._around(host) for item in self.addresses.get(key, ())]
        if not found:
            return []
        return [
            _match(item, reading.name or form) for item, form in found if item.expires is None or item.expires > now
        ]

    def _around(self, host: str) -> list[str]:
        return [host.strip("[]"), *enclosing(host, self.prefixes)]


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

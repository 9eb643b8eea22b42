"""STIX 2.1 bundles: what their indicators say about URLs, hosts and addresses. Pure.

Only patterns that one value alone fulfils become entries: comparisons joined by OR. ``[url:value = 'a' AND …]`` says
that a *together with* something is bad; to block a alone would be wrong. Source: STIX 2.1, sections 4.7 and 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from reputation.addresses import normal_network
from reputation.formats_json import document
from reputation.formats_words import expiry, threat_of
from reputation.index import Entry
from toc.errors import ListError
from toc.verdict import ThreatType

_TOKEN = re.compile(
    r"(?P<literal>'(?:[^'\\]|\\.)*')|(?P<path>[a-z0-9-]+:(?:[^\s=!<>'\]]|'[A-Z0-9-]+')+)"
    r"|(?P<word>[A-Za-z]+)|(?P<operator>[=!<>]+)"
)
_KINDS = {
    "url:value": "url",
    "domain-name:value": "host",
    "ipv4-addr:value": "ip",
    "ipv6-addr:value": "ip",
    "file:hashes.'SHA-1'": "sha1",
    "file:hashes.'SHA-256'": "sha256",
}
_DIGESTS = frozenset({"sha1", "sha256"})  # exchanged as objects; no list of URLs has them
_JOINERS = frozenset({"AND", "NOT", "FOLLOWEDBY", "WITHIN", "REPEATS", "START", "STOP"})
_EQUAL = frozenset({"=", "==", "IN"})
_WITHIN = _EQUAL | {"ISSUBSET"}  # of addresses: a network covers each of its addresses
_HARMLESS = frozenset({"benign", "anonymization"})


def stix(raw: bytes, threat: ThreatType) -> Iterator[Entry]:
    """Entries of a bundle or TAXII envelope: of each indicator the newest version, unless that is revoked.

    Raises ListError ``json`` or ``format``.
    """
    found = document(raw)
    objects = found.get("objects", []) if isinstance(found, dict) else None
    if not isinstance(objects, list) or (isinstance(found, dict) and not ({"objects", "type"} & found.keys())):
        raise ListError("JSON, but no STIX bundle", why="format")
    newest: dict[str, tuple[str, int, dict[str, Any]]] = {}
    for number, item in enumerate(objects, 1):
        if isinstance(item, dict) and item.get("type") == "indicator":
            name, modified = str(item.get("id", number)), str(item.get("modified", ""))
            if name not in newest or modified >= newest[name][0]:
                newest[name] = (modified, number, item)
    for _, number, item in newest.values():
        yield from indicator(item, number, threat)


def indicator(item: dict[str, Any], number: int, threat: ThreatType) -> Iterator[Entry]:
    """The entries of one indicator; none where it is revoked, harmless or no STIX pattern."""
    if not accuses(item):
        return
    types = _types(item)
    word = threat_of(types[0] if types else "", threat)
    until = expiry(str(item.get("valid_until", "")))
    for kind, value in values(str(item.get("pattern", ""))):
        if kind in _DIGESTS:
            continue
        place = normal_network(value) if kind == "ip" else value
        yield Entry(kind if place else "bad", place or value, number, word, until)


def accuses(item: Mapping[str, Any]) -> bool:
    """Whether an indicator is in force, in a language that we read, and means harm."""
    harmless = _HARMLESS & set(_types(item))
    return item.get("revoked") is not True and item.get("pattern_type", "stix") == "stix" and not harmless


def _types(item: Mapping[str, Any]) -> list[str]:
    found = item.get("indicator_types")
    return [str(word) for word in found] if isinstance(found, list) else []


def values(pattern: str) -> list[tuple[str, str]]:
    """Kind and value of each comparison that alone fulfils `pattern`; empty where it takes more than one."""
    found: list[tuple[str, str]] = []
    path = operator = ""
    for token in _TOKEN.finditer(pattern):
        text = token.group()
        if token.lastgroup == "literal":
            kind = _KINDS.get(path, "")
            if operator in (_WITHIN if kind == "ip" else _EQUAL) and kind:
                found.append((kind, re.sub(r"\\(.)", r"\1", text[1:-1])))
        elif token.lastgroup == "path":
            path, operator = text, ""
        elif text.upper() in _JOINERS:
            return []
        elif text.upper() != "OR":
            operator = text.upper()
    return found

"""List formats that are JSON: URLhaus, PhishTank, MISP. Pure; see `reputation.formats` for the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from reputation.addresses import normal_network
from reputation.formats_words import threat_of
from reputation.index import Entry
from toc.errors import ListError
from toc.verdict import ThreatType


def document(raw: bytes | str) -> Any:
    """The JSON value of `raw`. Raises ListError ``json``."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ListError(f"no JSON: {error}", why="json") from None


def _expect(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ListError("JSON, but not of this format", why="format")
    return value


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, dict) else None
    return value.strip() if isinstance(value, str) else ""


def _url(value: str, number: int, threat: ThreatType) -> Entry:
    return Entry("url" if value.lower().startswith(("http://", "https://")) else "bad", value, number, threat)


def urlhaus_json(raw: bytes, threat: ThreatType) -> Iterator[Entry]:
    """URLhaus: ``{"<id>": [{"url": …, "threat": …}, …], …}``"""
    groups = _expect(dict, document(raw)).values()
    rows = [row for group in groups for row in _expect(list, group)]
    for number, row in enumerate(rows, 1):
        yield _url(_text(row, "url"), number, threat_of(_text(row, "threat"), threat))


def phishtank_json(raw: bytes, threat: ThreatType) -> Iterator[Entry]:
    """PhishTank: ``[{"url": …, "verified": "yes", …}, …]``; rows that nobody verified are left out."""
    for number, row in enumerate(_expect(list, document(raw)), 1):
        if _text(row, "verified") in ("yes", ""):
            yield _url(_text(row, "url"), number, threat)


def misp_warninglist(raw: bytes, threat: ThreatType) -> Iterator[Entry]:
    """MISP warning list: ``{"name": …, "type": "hostname|string|cidr", "list": […]}``.

    Raises ListError ``format`` for the types ``substring`` and ``regex``: as hosts they would mean something else.
    """
    found = _expect(dict, document(raw))
    kind = found.get("type")
    if kind not in ("hostname", "string", "cidr"):
        raise ListError(f"a warning list of the type {kind!r} names no hosts", why="format")
    for number, value in enumerate(_expect(list, found.get("list")), 1):
        entry = _value(value, number, threat) if isinstance(value, str) else None
        yield entry or Entry("bad", str(value), number, threat)


_HOST = re.compile(r"\.?[^\s/:@?#\\]+\.?\Z")


def _value(text: str, number: int, threat: ThreatType) -> Entry | None:
    """URL, host or address, by its look."""
    text = text.strip()
    if text.lower().startswith(("http://", "https://")):
        return Entry("url", text, number, threat)
    if network := normal_network(text):
        return Entry("ip", network, number, threat)
    if _HOST.match(text):
        return Entry("host", text.lstrip("."), number, threat)
    return None


_MISP_KINDS = {
    "url": "url",
    "uri": "url",
    "link": "url",
    "domain": "host",
    "hostname": "host",
    "ip-dst": "ip",
    "domain|ip": "host",
    "hostname|port": "host",
    "ip-dst|port": "ip",
}


def misp_feed(source: Iterable[tuple[int, str]], threat: ThreatType) -> Iterator[Entry]:
    """Events of a MISP feed, one JSON document a line, as `reputation.collect` brings them.

    Only attributes meant for detection (``to_ids``) and not deleted are entries.
    """
    for number, text in source:
        event = _expect(dict, document(text)).get("Event")
        attributes = list(_expect(dict, event).get("Attribute") or ())
        for thing in event.get("Object") or ():
            attributes += thing.get("Attribute") or () if isinstance(thing, dict) else ()
        for attribute in attributes:
            kind = _MISP_KINDS.get(_text(attribute, "type"))
            if kind and attribute.get("to_ids") is True and not attribute.get("deleted"):
                value = _text(attribute, "value")
                value = value if kind == "url" else value.partition("|")[0]
                word = threat if threat is not ThreatType.OTHER else threat_of(_text(attribute, "category"), threat)
                yield Entry(kind, value, number, word)

"""Safe Browsing v5, hash search without a local database ("no-storage real-time mode"). Our own client.

    expressions of a URL ─▶ SHA-256 ─▶ first 4 bytes ─▶ hashes:search ─▶ full hashes ─▶ compared here

Privacy: only those 4 bytes of each hash leave the house, never a URL or host; the server learns the sender's address and
the key. Terms (developers.google.com/safe-browsing): non-commercial use only, Web Risk is the paid sibling; whoever shows
a warning must say that it comes from Google and may be wrong.

Source: "Package google.security.safebrowsing.v5", "No Storage Real Time Mode", "URLs and Hashing".
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from reputation.breaker import Found, Patience, SourceError
from reputation.forms import Reading, is_address
from reputation.http_source import Answer, HttpSource
from toc.url import registrable_domain
from toc.verdict import Level, Match, ThreatType

PATH = "/v5/hashes:search"
PREFIX = 4
"""Bytes: "currently each hash prefix is required to be exactly 4 bytes long"."""

MIN_CACHE_SECONDS, MAX_CACHE_SECONDS = 1.0, 86400.0
PATIENCE = Patience(failures=3, base=900.0, cap=86400.0)
"""Back-off that the service asks of its clients: min(2^(n-1) · 15 minutes · (1 + random), 24 hours)."""

THREATS: Mapping[str, ThreatType] = {
    "MALWARE": ThreatType.MALWARE,
    "SOCIAL_ENGINEERING": ThreatType.PHISHING,
    "UNWANTED_SOFTWARE": ThreatType.UNWANTED,
    "POTENTIALLY_HARMFUL_APPLICATION": ThreatType.UNWANTED,
}
NOT_FOR_US = frozenset({"CANARY", "FRAME_ONLY"})
"""Attributes of a detail that is not for enforcement, or not for what a person navigates to. A detail with a type or an
attribute that we do not know must not count as a threat: the answer is then UNSURE, which is silence."""

_TYPES = {1: "MALWARE", 2: "SOCIAL_ENGINEERING", 3: "UNWANTED_SOFTWARE", 4: "POTENTIALLY_HARMFUL_APPLICATION"}
_ATTRIBUTES = {1: "CANARY", 2: "FRAME_ONLY"}
_JSON, _PROTOBUF = "application/json", ("application/x-protobuf", "application/octet-stream")


@dataclass(frozen=True, slots=True)
class SafeBrowsing:
    """One server of the protocol. A match has the level `level`."""

    server: HttpSource
    level: Level = Level.DANGEROUS
    required: bool = False
    name: str = "safe-browsing"

    def keys(self, reading: Reading) -> tuple[str, ...]:
        """The expressions; up to five hosts, six paths each."""
        own = reading.under(reading.host)
        paths = [expression[len(reading.host) :] for expression in own]
        return tuple(host + path for host in hosts(reading.host) for path in paths)

    async def fetch(self, keys: tuple[str, ...]) -> dict[str, Found]:
        digests = {key: hashlib.sha256(key.encode()).digest() for key in keys}
        prefixes = sorted({digest[:PREFIX] for digest in digests.values()})
        query = [("hashPrefixes", base64.b64encode(prefix).decode()) for prefix in prefixes]
        hashes, seconds = read(await self.server.get(PATH, query, ", ".join((*_PROTOBUF[:1], _JSON))))
        return {key: self._found(key, hashes.get(digests[key], NOTHING), seconds) for key in keys}

    async def close(self) -> None:
        await self.server.close()

    def _found(self, key: str, known: Known, seconds: float) -> Found:
        matches = tuple(Match(self.name, "v5", key, threat, self.level, "expression") for threat in known.threats)
        return Found(matches, seconds, unsure=known.unsure and not matches)


def hosts(host: str) -> list[str]:
    """The host, and up to four between it and its registrable domain, which is one of them (v5; v4 counted labels)."""
    if is_address(host):
        return [host]
    found = [registrable_domain(host)]
    above = host.removesuffix(found[0]).rstrip(".").split(".") if host != found[0] else []
    for label in reversed(above):
        if len(found) == 4:
            break
        found.append(f"{label}.{found[-1]}")
    return list(dict.fromkeys([host, *reversed(found)]))


class Known(NamedTuple):
    """What is known of one full hash. `unsure`: also something that we cannot read."""

    threats: tuple[ThreatType, ...] = ()
    unsure: bool = False


NOTHING = Known()
Hashes = dict[bytes, Known]
Detail = tuple[str | None, list[str | None]]
"""Threat type and attributes of one detail by name; None for a number without one."""


def read(answer: Answer) -> tuple[Hashes, float]:
    """Full hashes with their threats, and seconds to keep them. Raises SourceError for what is no such answer."""
    try:
        if answer.kind == _JSON:
            return _from_json(answer.body)
        if answer.kind in _PROTOBUF:
            return _from_protobuf(answer.body)
    except (ValueError, TypeError, LookupError, AttributeError, msgspec.DecodeError) as error:
        raise SourceError(f"no SearchHashesResponse: {error}") from None
    raise SourceError(f"an answer of the type {answer.kind[:40]!r}")


def _from_json(body: bytes) -> tuple[Hashes, float]:
    found = msgspec.json.decode(body)
    hashes: Hashes = {}
    for row in found.get("fullHashes", []):
        digest = base64.b64decode(row["fullHash"], altchars=b"-_" if re.search("[-_]", row["fullHash"]) else None)
        details = row.get("fullHashDetails", [])
        _add(hashes, digest, [(detail.get("threatType"), list(detail.get("attributes", []))) for detail in details])
    return hashes, _kept(float(str(found.get("cacheDuration", "0s")).removesuffix("s")))


def _from_protobuf(body: bytes) -> tuple[Hashes, float]:
    hashes: Hashes = {}
    seconds = 0.0
    for number, value in fields(body):
        if number == 1:
            parts = list(fields(_bytes(value)))
            (digest,) = (_bytes(value) for number, value in parts if number == 1)
            _add(hashes, digest, [_detail(_bytes(value)) for number, value in parts if number == 2])
        elif number == 2:
            duration: dict[int, Any] = dict(fields(_bytes(value)))
            seconds = duration.get(1, 0) + duration.get(2, 0) / 1e9
    return hashes, _kept(seconds)


def _detail(raw: bytes) -> Detail:
    kind: str | None = None
    attributes: list[str | None] = []
    for number, value in fields(raw):
        if number == 1 and isinstance(value, int):
            kind = _TYPES.get(value)
        elif number == 2:  # repeated numbers come packed, or one by one from old writers
            numbers = [value] if isinstance(value, int) else list(_packed(value))
            attributes += [_ATTRIBUTES.get(number) for number in numbers]
    return kind, attributes


def _packed(raw: bytes) -> Iterator[int]:
    at = 0
    while at < len(raw):
        value, at = _varint(raw, at)
        yield value


def _add(hashes: Hashes, digest: bytes, details: list[Detail]) -> None:
    if len(digest) != 32:
        raise ValueError(f"a full hash of {len(digest)} bytes")
    threats, unsure = hashes.get(digest, NOTHING)
    for kind, attributes in details:
        if NOT_FOR_US & set(attributes):
            continue
        threat = THREATS.get(kind or "")
        if threat is not None and not attributes:
            threats += (threat,)
        else:
            unsure = True
    hashes[digest] = Known(tuple(dict.fromkeys(threats)), unsure)


def _kept(seconds: float) -> float:
    """What the server says, within reason: an answer must live long enough to be read."""
    return min(seconds, MAX_CACHE_SECONDS) if seconds > MIN_CACHE_SECONDS else MIN_CACHE_SECONDS


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message is due")
    return value


def fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protobuf message (protobuf.dev, "Encoding"). Raises ValueError."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = _varint(raw, at)
            yield number, value
            continue
        if wire == 2:
            size, at = _varint(raw, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(raw):
            raise ValueError("the message is cut")
        yield number, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ValueError("a broken number")
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at

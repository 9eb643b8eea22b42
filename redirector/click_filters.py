"""What a search for clicks may ask for: names and values of filters → conditions on the tables. Knows no connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import ColumnElement, and_, or_, select, true

from redirector.actor import ActorKind
from redirector.click_narrowing import PARTS
from redirector.clicks import Event
from redirector.rate import network_of
from toc.errors import BadUrl, RequestError
from toc.policy import Action
from toc.store.schema import clicks, messages, people
from toc.token import normal_address
from toc.url import ascii_host, parse
from toc.verdict import Level

Condition = ColumnElement[bool]

MAX_RANGES = 256
"""Ranges that one network may fall into: a /9 has 128, an IPv6 /48 256."""


def _word(column: Any, words: Mapping[str, int]) -> Callable[[str, str], Condition]:
    def condition(value: str, name: str) -> Condition:
        if value not in words:
            raise RequestError(f"{name} = {value[:40]!r} is none of {', '.join(words)}")
        return _bool(column == words[value])

    return condition


def _bool(expression: Any) -> Condition:
    return expression  # type: ignore[no-any-return]


def _time(value: str, name: str, zone: ZoneInfo) -> datetime:
    """RFC 3339, or a date or time without a zone, which is meant in the query's zone."""
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise RequestError(f"{name} = {value[:40]!r} is no time such as 2026-11-24T09:00:00Z or 2026-11-24") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def _in_messages(condition: Callable[[str], Condition]) -> Callable[[str, str], Condition]:
    def found(value: str, _name: str) -> Condition:
        return clicks.c.message_ref.in_(select(messages.c.ref).where(condition(value)))

    return found


def _sender(value: str) -> Condition:
    ref = select(people.c.ref).where(people.c.address == normal_address(value)).scalar_subquery()
    return _bool(messages.c.sender_ref == ref)


def exact_url(value: str, name: str = "exact_url") -> str:
    try:
        return parse(value).href
    except BadUrl:
        raise RequestError(f"{name} = {value[:80]!r} is no http(s) URL") from None


def _host(value: str, _name: str) -> Condition:
    return _bool(clicks.c.host == (ascii_host(value) or value.lower()))


def _domain(value: str, _name: str) -> Condition:
    return _bool(clicks.c.domain == (ascii_host(value) or value.lower()))


def _network(value: str, name: str) -> Condition:
    """An address, its /24 or /56, or a larger network: all whose own network lies in it."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise RequestError(f"{name} = {value[:60]!r} is neither an address nor a network") from None
    if network.num_addresses == 1:
        own = str(network.network_address)
        return and_(clicks.c.network == network_of(own), clicks.c.client == own)
    if network.prefixlen >= (24 if network.version == 4 else 56):
        return _bool(clicks.c.network == network_of(str(network.network_address)))
    if isinstance(network, ipaddress.IPv4Network):
        return _ipv4_ranges(network)
    if network.prefixlen < 48:
        raise RequestError(f"{name} = {value[:60]!r} is too large: IPv6 networks from /48 on can be searched")
    return clicks.c.network.in_([str(part) for part in network.subnets(new_prefix=56)])


def _ipv4_ranges(network: ipaddress.IPv4Network) -> Condition:
    """Whole bytes are ranges of the text: ``198.51.`` up to ``198.51/``, as ``/`` follows the dot in ASCII."""
    length = (network.prefixlen + 7) // 8 * 8
    if not length:
        return and_(clicks.c.network >= "0", clicks.c.network < ":", clicks.c.network.contains("."))
    starts = [".".join(str(part).split(".")[: length // 8]) for part in network.subnets(new_prefix=length)]
    if length == 24:
        return clicks.c.network.in_([f"{start}.0/24" for start in starts])
    return or_(*(and_(clicks.c.network >= f"{start}.", clicks.c.network < f"{start}/") for start in starts))


def _hex(value: str, name: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise RequestError(f"{name} = {value[:40]!r} is not hexadecimal") from None


_BY_NAME: dict[str, Callable[[str, str], Condition]] = {
    "sender": _in_messages(_sender),
    "message_id": _in_messages(lambda value: _bool(messages.c.message_id == value)),
    "exact_url": lambda value, name: _bool(clicks.c.url == exact_url(value, name)),
    "host": _host,
    "domain": _domain,
    "action": _word(clicks.c.action, {item.code: int(item) for item in Action}),
    "level": _word(clicks.c.level, {item.code: int(item) for item in Level}),
    "event": _word(clicks.c.event, {item.code: int(item) for item in Event}),
    "actor": _word(clicks.c.actor, {item.code: int(item) for item in ActorKind}),
    "source": lambda value, _: clicks.c.evidence.contains(f'"source":"{value}"', autoescape=True),
    "network": _network,
    "group": lambda value, _: _bool(clicks.c.grp == value),
    "message_ref": lambda value, name: _bool(clicks.c.message_ref == _hex(value, name)),
}

FILTERS = ("from", "to", "zone", "recipient", *PARTS, *_BY_NAME)
"""Names of the query parameters."""


def span(filters: Mapping[str, str]) -> tuple[datetime | None, datetime | None]:
    """The times of `from` and `to`, UTC. Raises RequestError."""
    try:
        zone = ZoneInfo(filters.get("zone") or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RequestError(f"zone = {filters['zone'][:40]!r} is no IANA zone such as Asia/Tokyo") from None
    start = _time(filters["from"], "from", zone) if "from" in filters else None
    return start, _time(filters["to"], "to", zone) if "to" in filters else None


def conditions(filters: Mapping[str, str]) -> list[Condition]:
    """All but `recipient` and `PARTS`, of which `click_search.search` takes care.

    Raises RequestError for a name or value that is not understood: a filter that is ignored would mislead.
    """
    for name in filters:
        if name not in FILTERS:
            raise RequestError(f"there is no filter {name!r}; known are {', '.join(FILTERS)}")
    start, end = span(filters)
    found: list[Condition] = [true()]
    if start is not None:
        found.append(clicks.c.time >= start)
    if end is not None:
        found.append(clicks.c.time < end)
    return found + [_BY_NAME[name](value, name) for name, value in filters.items() if name in _BY_NAME]

"""The time machine: whom an object would have met, were it added now. Reads the record; changes nothing.

    object ─▶ registrable domains it may meet ─▶ candidates by index ─▶ each URL held against the object itself

Clicks are judged again from their own evidence with the object added (`toc.replay`). Held links are those of rewritten
mails whose holder has not clicked them: what a purge of mailboxes must find.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, false, or_, select, true
from sqlalchemy.ext.asyncio import AsyncConnection

from redirector import click_search
from redirector.actor import ActorKind
from redirector.clicks import Event, without_values
from reputation.forms import forms
from reputation.objects import Object, ObjectSet, ObjectType, breadth_warning
from toc import domains
from toc.errors import BadUrl
from toc.policy import Action, Policy, decide
from toc.replay import verdict_of
from toc.sightings import Sighting
from toc.store.schema import clicks, first_seen, holders, inner_hosts, links, messages, people, to_micros
from toc.token import NO_REF, Sealed
from toc.url import parse, parse_serialised, registrable_domain
from toc.verdict import Match, Verdict, conclude

MOST = 5000
"""Clicks, and links, of one answer. An object that meets more is too broad for a list of names."""

MOST_DOMAINS = 2000
"""Values of one IN; an object that reaches further finds its hits among the newest rows."""

MANY_HOSTS = 20

MOST_PIECES = 8
"""Of an exact URL that a query looks for."""

_AT_ONCE = 500
_LED_ON = (Event.FORWARDED.code, Event.PROCEEDED.code)


@dataclass(frozen=True, slots=True)
class MetClick:
    """`click`: as the record shows it; `would`: the action that the object would have led to."""

    click: Mapping[str, Any]
    would: Action


@dataclass(frozen=True, slots=True)
class Held:
    """A rewritten link, and one who holds it and has not clicked it. `recipient`: empty where no address is on record."""

    message_ref: bytes
    message_id: str
    subject: str
    time: datetime
    recipient_ref: bytes
    recipient: str
    url: str


@dataclass(frozen=True, slots=True)
class Impact:
    """`more_clicks`, `more_held`: there are more than `MOST`. `hosts`: how many the found URLs have."""

    clicks: tuple[MetClick, ...]
    held: tuple[Held, ...]
    more_clicks: bool
    more_held: bool
    hosts: int
    sighting: Sighting | None

    @property
    def stopped(self) -> tuple[MetClick, ...]:
        """Clicks of those (and of what may be persons) who were led on, and whom the object would have stopped."""
        return tuple(met for met in self.clicks if met.would > Action.ALLOW and _was_led_on(met.click))

    def newest(self, most: int) -> list[Mapping[str, Any]]:
        """The clicks as the record shows them."""
        return [met.click for met in self.clicks[:most]]


def _was_led_on(click: Mapping[str, Any]) -> bool:
    return click["event"] in _LED_ON and click["actor"] != ActorKind.AUTOMATED.code


async def impact(
    connection: AsyncConnection, entry: Object, policy: Policy, *, since: datetime, now: datetime, most: int = MOST
) -> Impact:
    """What `entry` would have met: clicks from `since` on, and links held, however old."""
    meets = _Meeting(entry, now)
    found = await _clicks(connection, entry, meets, since, most)
    met = tuple(MetClick(click, _would(click, match, policy, now)) for click, match in found[:most])
    held_links = await _held_links(connection, entry, meets, most)
    held, more = await _not_clicked(connection, held_links, most)
    urls = {click.click["host"] for click in met} | {row["host"] for row in held_links}
    return Impact(met, held, len(found) > most, more, len(urls), await _sighting(connection, entry))


class _Meeting:
    """The object, asked about one URL after another."""

    def __init__(self, entry: Object, now: datetime) -> None:
        self._objects = ObjectSet.of([entry])
        self._now = now
        self._known: dict[str, Match | None] = {}

    def match(self, url: str) -> Match | None:
        """What the URL, or what lies inside its wrappers, meets."""
        if url not in self._known:
            self._known[url] = self._ask(url)
        return self._known[url]

    def _ask(self, url: str) -> Match | None:
        try:
            readings = forms(parse_serialised(url)).readings
        except BadUrl:
            return None
        return next((match for reading in readings for match in self._objects.match(reading, self._now)), None)


Condition = ColumnElement[bool]


async def _reach(connection: AsyncConnection, entry: Object, meets: _Meeting, table: Any) -> Condition:
    """Rows of `table` (with `host` and `domain`) that the entry may meet by their host, found by its index."""
    if entry.type == ObjectType.IP:
        known = lambda name: meets.match(f"http://{name}/") is not None  # noqa: E731
        return await _among(connection, table, known, true(), addresses=True)
    host = parse(entry.value).host.strip(".") if entry.type == ObjectType.URL else entry.value.removeprefix("*.")
    domain = registrable_domain(host)
    named = true() if host == domain else table.c.host.contains(host, autoescape=True)
    if entry.type == ObjectType.URL or registrable_domain(f"any-name.{host}") == domain:
        return and_(table.c.domain == domain, named)
    ending = f".{host}"  # a suffix under which names have many owners
    below = table.c.host.endswith(ending, autoescape=True)
    return await _among(connection, table, lambda name: name == host or name.endswith(ending), below)


async def _among(
    connection: AsyncConnection,
    table: Any,
    fits: Callable[[str], bool],
    otherwise: Condition,
    *,
    addresses: bool = False,
) -> Condition:
    """Rows whose registrable domain fits. `otherwise`: where there are very many; addresses: only these are looked at."""
    found = [name for name in await domains.on_record(connection, table, addresses=addresses) if fits(name)]
    if len(found) > MOST_DOMAINS:
        return otherwise
    return table.c.domain.in_(found) if found else false()


def _may_be(entry: Object, column: Any) -> Condition:
    """Of an exact URL: the plain pieces of its path and query stand in every spelling, unless characters are percent-encoded."""
    if entry.type != ObjectType.URL:
        return true()
    url = parse(entry.value)
    pieces = re.findall(r"(?<!%)[A-Za-z0-9_-]{2,}", f"{url.path} {url.query}")[:MOST_PIECES]
    escaped = column.contains("%", autoescape=True)
    return or_(and_(*(column.contains(piece, autoescape=True) for piece in pieces)), escaped) if pieces else true()


async def _newest(
    connection: AsyncConnection, query: Select[Any], key: Any, meets: _Meeting, most: int
) -> dict[int, Any]:
    """Rows of `query` that the entry meets, newest first, by `key`; at most one more than `most`."""
    found: dict[int, Any] = {}
    page = query.order_by(key.desc()).limit(most + 1)
    while True:
        rows = (await connection.execute(page)).mappings().all()
        found |= {row[key.name]: row for row in rows if meets.match(row["url"])}
        if len(rows) <= most or len(found) > most:
            return found
        page = query.where(key < rows[-1][key.name]).order_by(key.desc()).limit(most + 1)


async def _clicks(
    connection: AsyncConnection, entry: Object, meets: _Meeting, since: datetime, most: int
) -> list[tuple[dict[str, Any], Match]]:
    """At most one more than `most`, newest first, each with the match. Those on other vendors' wrappers are found through
    the mails that hold them."""
    since_then = select(clicks).where(clicks.c.time >= since, _may_be(entry, clicks.c.url))
    outer = since_then.where(await _reach(connection, entry, meets, clicks))
    inside = select(inner_hosts.c.link).where(await _reach(connection, entry, meets, inner_hosts))
    mails = select(links.c.message_ref).where(links.c.id.in_(inside), links.c.message_ref != NO_REF)
    found = await _newest(connection, outer, clicks.c.seq, meets, most)
    found |= await _newest(connection, since_then.where(clicks.c.message_ref.in_(mails)), clicks.c.seq, meets, most)
    newest = [found[seq] for seq in sorted(found, reverse=True)][: most + 1]
    documents = await click_search.documents(connection, newest)
    return [(click, match) for click in documents if (match := meets.match(click["url"])) is not None]


def _would(click: Mapping[str, Any], match: Match, policy: Policy, now: datetime) -> Action:
    """The decision about this click had the object been there: the evidence that was, and this match."""
    seen = verdict_of(click)
    verdict: Verdict = conclude(
        as_of=seen.as_of,
        matches=(*seen.matches, match),
        signs=seen.signs,
        silent=seen.silent,
        required=seen.required,
        familiar=seen.familiar,
    )
    sealed = Sealed(click["url"], datetime.fromisoformat(click["issued"]))
    return decide(sealed, verdict, policy.numbered(click["profile"]), now=now).action


async def _held_links(
    connection: AsyncConnection, entry: Object, meets: _Meeting, most: int
) -> list[Mapping[str, Any]]:
    """Rewritten links that the entry meets, newest first; at most one more than `most`."""
    rewritten = select(links.c.id, links.c.message_ref, links.c.url, links.c.host).where(
        links.c.outcome == "rewritten", _may_be(entry, links.c.url)
    )
    outer = rewritten.where(await _reach(connection, entry, meets, links))
    inside = select(inner_hosts.c.link).where(await _reach(connection, entry, meets, inner_hosts))
    found = await _newest(connection, outer, links.c.id, meets, most)
    found |= await _newest(connection, rewritten.where(links.c.id.in_(inside)), links.c.id, meets, most)
    return [found[key] for key in sorted(found, reverse=True)][: most + 1]


async def _not_clicked(
    connection: AsyncConnection, found: Sequence[Mapping[str, Any]], most: int
) -> tuple[tuple[Held, ...], bool]:
    """Each link with each holder who has not clicked it himself; whether there are more. Programs' clicks count for nobody."""
    held: dict[Held, None] = {}
    for start in range(0, len(found), _AT_ONCE):
        part = found[start : start + _AT_ONCE]
        refs = {bytes(row["message_ref"]) for row in part}
        clicked = await _clicked(connection, refs)
        holding = await _holding(connection, refs)
        for link in part:
            ref, url = bytes(link["message_ref"]), link["url"]
            for mail in holding.get(ref, ()):
                person = bytes(mail.recipient_ref)
                if not clicked & {(ref, person, url), (ref, person, without_values(url))}:
                    row = Held(ref, mail.message_id, mail.subject, mail.time, person, mail.address or "", url)
                    held[row] = None
        if len(held) > most:
            break
    return tuple(held)[:most], len(held) > most or len(found) > most


async def _holding(connection: AsyncConnection, refs: set[bytes]) -> dict[bytes, list[Row[Any]]]:
    """Message → a row for each holder, with the mail."""
    query = (
        select(messages, holders.c.recipient_ref, people.c.address)
        .join(holders, holders.c.message_ref == messages.c.ref)
        .outerjoin(people, people.c.ref == holders.c.recipient_ref)
        .where(messages.c.ref.in_(refs))
    )
    found: dict[bytes, list[Row[Any]]] = {}
    for row in await connection.execute(query):
        found.setdefault(bytes(row.ref), []).append(row)
    return found


async def _clicked(connection: AsyncConnection, refs: set[bytes]) -> set[tuple[bytes, bytes, str]]:
    query = select(clicks.c.message_ref, clicks.c.recipient_ref, clicks.c.url).where(
        clicks.c.message_ref.in_(refs), clicks.c.actor != int(ActorKind.AUTOMATED)
    )
    rows = await connection.execute(query)
    return {(bytes(row.message_ref), bytes(row.recipient_ref), row.url) for row in rows}


async def _sighting(connection: AsyncConnection, entry: Object) -> Sighting | None:
    """How the host of the entry was seen here so far."""
    if entry.type not in (ObjectType.DOMAIN, ObjectType.URL):
        return None
    name = parse(entry.value).host if entry.type == ObjectType.URL else entry.value.removeprefix("*.")
    row = (await connection.execute(select(first_seen).where(first_seen.c.name == name))).first()
    return None if row is None else Sighting(to_micros(row.time), row.days, row.people)


def warnings(entry: Object, found: Impact, top_sites: frozenset[str]) -> tuple[str, ...]:
    """What a person should think twice about before adding the entry."""
    told = [breadth_warning(entry, top_sites)]
    if found.hosts > MANY_HOSTS:
        told.append(f"it meets URLs of {found.hosts} hosts")
    if entry.type == ObjectType.DOMAIN and found.sighting is not None and found.sighting.familiar:
        told.append(
            f"{entry.value} is familiar here: in mails of {found.sighting.days} days to {found.sighting.people} recipients"
        )
    if found.more_clicks or found.more_held:
        told.append(f"it meets more than {MOST:,} clicks or held links; shown are the newest")
    return tuple(line for line in told if line)

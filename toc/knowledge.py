"""What one process knows at this moment, and the verdict that follows. Keyset, policy, lists, objects, revocations.

Each part is replaced whole, by one reference; whoever has begun with the old one finishes with it. `refresh` is called
a few times a second and costs a stat per file where nothing changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reputation.brands import Brand, Brands
from reputation.breaker import LiveSource, ask_all
from reputation.collect import Login
from reputation.feeds import Feed
from reputation.forms import Forms, forms
from reputation.hosting import is_shared
from reputation.lists import Lists, LookedUp, counted, recorded
from reputation.objects import SOURCE, Object, ObjectSet
from reputation.signs import signs
from toc.config import Config, FeedSettings
from toc.keys import KeysetFile
from toc.quiet import QuietHosts
from toc.sightings import Sighting
from toc.snapshot import ObjectRow, Revoked, Snapshot, SnapshotFile
from toc.startup import Startup
from toc.token import Flag, Sealed
from toc.url import Url, ascii_host
from toc.verdict import Level, MatchKind, Sign, ThreatType, Verdict, conclude

_THREATS = {threat.value: threat for threat in ThreatType}
LEARNING = timedelta(days=7)
"""A new installation has seen nothing: for so long *first seen here* is no sign."""


class Knowledge:
    """One per process."""

    def __init__(self, startup: Startup, *, live: Sequence[LiveSource] = ()) -> None:
        config = startup.config
        self.policy = startup.policy
        self.keyset_file = KeysetFile(config.keyset_path)
        self.lists = Lists.open(config.data_dir / "lists", feeds_of(config))
        self.objects = ObjectSet()
        self.revoked = Revoked()
        self.snapshot_seen = False
        self._config = config
        self._snapshot = SnapshotFile(config.data_dir)
        self._brands = Brands(Brand(row.name, row.domains) for row in config.reputation.brands)
        self.popular = read_popularity(config)
        self._live = tuple(live)
        self._quiet = QuietHosts()
        self._deadline = config.reputation.deadline_ms / 1000
        self.refresh(0.0)

    def refresh(self, monotonic: float) -> None:
        """Look whether any of the files changed."""
        self.keyset_file.refresh(monotonic)
        self._refresh_data()

    async def refresh_beside(self, monotonic: float) -> None:
        """The same for an event loop: a large list or many objects are taken in by another thread meanwhile."""
        self.keyset_file.refresh(monotonic)
        await asyncio.to_thread(self._refresh_data)

    def _refresh_data(self) -> None:
        self.lists.reload_if_changed()
        snapshot = self._snapshot.refresh()
        if snapshot is not None:
            self.take_in(snapshot)

    def take_in(self, snapshot: Snapshot) -> None:
        """Objects and revocations as the database has them; the snapshot file brings them by itself."""
        generation = str(snapshot.counters.get("objects", 0))
        self.objects = ObjectSet.of((object_of(row) for row in snapshot.objects), generation)
        self.revoked = Revoked.of(snapshot.revocations)
        self.snapshot_seen = True

    def local(
        self, url: Url, now: datetime, *, other: str | None = None, differs: bool = False, seen: Sighting | None = None
    ) -> Verdict:
        """The verdict of lists, objects and signs, without asking anybody."""
        found = forms(url, other)
        return self._conclude(found, now, self._local(found, now), self._signs(found, now, differs, seen), seen)

    async def full(
        self,
        url: Url,
        now: datetime,
        *,
        other: str | None = None,
        differs: bool = False,
        seen: Sighting | None = None,
        spelt: str | None = None,
        peers: bool = True,
    ) -> Verdict:
        """The same with the live sources, within their common deadline.

        spelt: the URL as it was given      peers: whether other installations are asked, too
        """
        found = forms(url, other)
        known = self._local(found, now)
        live = [source for source in self._live if peers or not source.peer]
        if live:
            more, hushed = await ask_all(live, found.readings, deadline=self._deadline)
            required = tuple(source.name for source in live if source.required and source.name in hushed)
            if len(found.readings) > 1:  # nobody says which reading a source approves
                more = [recorded(match) for match in more]
            known = LookedUp(known.matches + more, known.silent + hushed, known.required + required, known.generations)
        return self._conclude(found, now, known, self._signs(found, now, differs, seen, spelt), seen)

    def at_once(self, url: Url, sealed: Sealed, now: datetime, seen: Sighting | None) -> Verdict | None:
        """The same as `of_link` where nobody need be asked; None where a live source must be."""
        if self._live:
            return None
        asked = self.lists.loaded, self.objects
        found = self._quiet.verdict(url, sealed, now, seen, asked)
        if found is None:
            differs = Flag.TEXT_DIFFERS in sealed.flags
            found = self.local(url, now, other=sealed.other, differs=differs, seen=seen)
            self._quiet.learn(url, found, asked)
        return found

    async def of_link(self, url: Url, sealed: Sealed, now: datetime, seen: Sighting | None) -> Verdict:
        """The verdict on the target of a link of ours."""
        found = self.at_once(url, sealed, now, seen)
        if found is None:
            differs = Flag.TEXT_DIFFERS in sealed.flags
            found = await self.full(url, now, other=sealed.other, differs=differs, seen=seen)
        return found

    def is_shared(self, host: str) -> bool:
        return is_shared(host)

    def _local(self, found: Forms, now: datetime) -> LookedUp:
        objects, lists = self.objects, self.lists.view
        _, silent, required, generations = lists
        each = []
        for reading in found.readings:
            matches = lists.matches(reading, now)
            matches += objects.match(reading, now)
            each.append(matches)
        if len(each) > 1:
            matches = counted(found.readings, each)
        if objects.generation:
            generations += ((SOURCE, objects.generation),)
        else:
            silent += (SOURCE,)
            required += (SOURCE,) if self._config.reputation.objects_required else ()
        return LookedUp(matches, silent, required, generations)

    def _conclude(
        self, found: Forms, now: datetime, known: LookedUp, signs: tuple[Sign, ...], seen: Sighting | None
    ) -> Verdict:
        matches, silent, required, generations = known
        return conclude(
            as_of=now,
            matches=tuple(matches if len(matches) < 2 else dict.fromkeys(matches)),
            signs=signs,
            silent=silent,
            required=required,
            forms=(found.url.href,),
            familiar=bool(seen or self.popular) and self._is_familiar(found, seen),
            consulted=generations,
        )

    def _signs(
        self, found: Forms, now: datetime, differs: bool, seen: Sighting | None, spelt: str | None = None
    ) -> tuple[Sign, ...]:
        hours = None
        if seen is not None and now - min(key.created for key in self.keyset_file.current.keys) > LEARNING:
            hours = (now.timestamp() - seen.first / 1_000_000) / 3600
        return signs(found, brands=self._brands, spelt=spelt, first_seen_hours=hours, text_differs=differs)

    def _is_familiar(self, found: Forms, seen: Sighting | None) -> bool:
        """Whether the host is, and what lies inside, too: a well-known wrapper says nothing about what it leads to."""
        if not ((seen is not None and seen.familiar) or self._is_popular(found.url)):
            return False
        return all(self._is_popular(reading.url) for reading in found.readings[1:])

    def _is_popular(self, url: Url) -> bool:
        return bool(self.popular) and url.domain in self.popular and not is_shared(url.host)


def feeds_of(config: Config) -> list[Feed]:
    """The feeds of the settings as the lists know them. Raises ConfigError."""
    return [_feed(config, row) for row in config.reputation.feeds]


def _feed(config: Config, row: FeedSettings) -> Feed:
    url = row.url
    if "://" not in url:  # a path, relative to the settings file
        url = config.path(url).resolve().as_uri()
    return Feed(
        name=row.name,
        url=url,
        format=row.format,
        threat=_THREATS.get(row.threat, ThreatType.OTHER),
        level=Level.of(row.level),
        kind=MatchKind.APPROVED if row.approves else MatchKind.THREAT,
        required=row.required,
        refresh_seconds=row.refresh_minutes * 60,
        licence=row.licence,
        checksum_url=row.checksum_url,
        canary_hits=row.must_hit,
        canary_misses=row.must_miss,
        proxy=row.proxy,
        login=Login(row.user, row.password, row.token),
    )


def object_of(row: ObjectRow) -> Object:
    return Object(
        id=row.id,
        type=row.type,
        value=row.value,
        action=row.action,
        risk_level=row.risk_level,
        note=row.note,
        source=row.source,
        owner=row.owner,
        created=row.created,
        expires=row.expires,
    )


def read_popularity(config: Config) -> frozenset[str]:
    """The operator's list of well-known domains: one a line, or ``rank,domain``. Raises ConfigError."""
    if not config.reputation.popularity:
        return frozenset()
    return frozenset(_domains(config.path(config.reputation.popularity)))


def _domains(path: Path) -> Iterable[str]:
    for line in path.read_text("utf-8", "replace").splitlines():
        host = ascii_host(line.rpartition(",")[2].strip())
        if host:
            yield host


def utc_now() -> datetime:
    return datetime.now(UTC)


Clock = Callable[[], datetime]

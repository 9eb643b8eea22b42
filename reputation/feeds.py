"""The feeds: what each list means, and how a fresh one replaces the last good one. Knows the order of the steps only.

    fetch ─▶ checksum ─▶ unpack ─▶ parse ─▶ build aside ─▶ guards ─▶ canaries ─▶ pointer by rename

Whatever goes wrong on the way, the last good list stays in use, and the state beside it says what went wrong. Each step
has its own module: `fetch`, `collect` (feeds of many files), `formats`, `index_build`, `guards`, `generations`.
"""

from __future__ import annotations

import asyncio
import os
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx

from reputation.collect import COLLECTORS, NO_LOGIN, Login, Means
from reputation.fetch import Fetched, Limits, fetch, unpacked
from reputation.formats import FORMATS, parse
from reputation.generations import State, open_current, point_to, read_seed, read_state, write_state
from reputation.guards import Figures, check_canaries, check_checksum, check_date, check_figures
from reputation.index import Entry, Index
from reputation.index_build import MAX_ENTRIES, build
from toc.errors import ConfigError, ListError
from toc.verdict import Level, MatchKind, ThreatType

MEMORY = "memory"
"""File in the folder of a list: what its collector keeps between refreshes."""

_LEVELS = {
    ThreatType.SCAM: Level.HIGHLY_SUSPICIOUS,
    ThreatType.SPAM: Level.SUSPICIOUS,
    ThreatType.UNWANTED: Level.SUSPICIOUS,
}


@dataclass(frozen=True, slots=True)
class Feed:
    """One row of the table of feeds.

    name:            letters, digits, ``-`` and ``_``: its folder, and its name in matches
    url:             https, http or file
    format:          a name of `reputation.formats.FORMATS`
    threat:          what its entries are where the format itself does not say
    level:           what a match raises the verdict to
    kind:            threat, or approved for a list of known good hosts
    required:        its silence makes a verdict ``unchecked``
    refresh_seconds: at least so long between two fetches; sources ask for it in their terms
    licence:         of the data, for whoever has to decide whether it may be used
    checksum_url:    where the source publishes a digest of the file; empty for none
    canary_hits:     URLs or hosts that must be on the list    canary_misses: ones that must never be
    proxy:           URL of a proxy for this feed; empty for the client's own way
    login:           of TAXII servers and feeds behind HTTP authentication
    max_entries:     more are refused
    """

    name: str
    url: str
    format: str
    threat: ThreatType = ThreatType.OTHER
    level: Level = Level.DANGEROUS
    kind: MatchKind = MatchKind.THREAT
    required: bool = False
    refresh_seconds: int = 3600
    licence: str = ""
    checksum_url: str = ""
    canary_hits: tuple[str, ...] = ()
    canary_misses: tuple[str, ...] = ()
    proxy: str = ""
    login: Login = NO_LOGIN
    max_entries: int = MAX_ENTRIES

    def __post_init__(self) -> None:
        if not self.name.replace("-", "a").replace("_", "a").isalnum() or not self.name.isascii():
            raise ConfigError(f"feed name {self.name!r}: letters, digits, - and _ only", setting="name")
        if self.format not in FORMATS and self.format not in COLLECTORS:
            known = ", ".join(sorted({*FORMATS, *COLLECTORS}))
            raise ConfigError(f"feed {self.name}: format {self.format!r} is none of {known}", setting="format")


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """What one refresh did. `outcome`: ``new``, ``unchanged`` or ``refused``; with ``refused`` the reason and `why`."""

    name: str
    outcome: str
    generation: str = ""
    entries: int = 0
    rejected: int = 0
    duplicates: int = 0
    why: str = ""
    error: str = ""


KNOWN: dict[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(
            "urlhaus",
            "https://urlhaus.abuse.ch/downloads/csv_online/",
            "urlhaus_csv",
            ThreatType.MALWARE,
            refresh_seconds=300,
            licence="CC0-1.0; fetch at most every 5 minutes",
        ),
        Feed(
            "openphish",
            "https://openphish.com/feed.txt",
            "openphish",
            ThreatType.PHISHING,
            refresh_seconds=43200,
            licence="OpenPhish community feed: non-commercial use; updated every 12 hours",
        ),
        Feed(
            "phishtank",
            "https://data.phishtank.com/data/online-valid.csv.gz",
            "phishtank_csv",
            ThreatType.PHISHING,
            refresh_seconds=3600,
            licence="PhishTank terms of use; an application key raises the limit on downloads",
        ),
        Feed(
            "adguard-dns",
            "https://adguardteam.github.io/AdGuardSDNSFilter/Filters/filter.txt",
            "adblock",
            ThreatType.UNWANTED,
            Level.SUSPICIOUS,
            refresh_seconds=86400,
            licence="GPL-3.0; blocks advertising and tracking too",
        ),
        Feed(
            "misp-circl",
            "https://www.circl.lu/doc/misp/feed-osint/manifest.json",
            "misp_feed",
            refresh_seconds=86400,
            licence="CIRCL OSINT feed: TLP:WHITE as marked in each event",
        ),
    )
}
"""Public feeds that an operator may name in the settings. None is switched on by default: each has its terms."""


def level_of(threat: ThreatType) -> Level:
    """The level that a list of this threat type has where its row names none."""
    return _LEVELS.get(threat, Level.DANGEROUS)


async def refresh(
    feed: Feed,
    directory: Path,
    now: datetime,
    client: httpx.AsyncClient,
    *,
    rng: random.Random,
    limits: Limits = Limits(),
    progress: Callable[[int], None] | None = None,
) -> RefreshReport:
    """Fetch, judge and swap in one list. Never raises for what a source does: the report and the state say it.

    directory: the folder of all lists      now: aware, UTC      rng: spreads the waiting between attempts
    client:    its proxy is used where the feed names none
    """
    folder = directory / feed.name
    folder.mkdir(parents=True, exist_ok=True)
    state = read_state(folder)
    try:
        report, fetched = await _refresh(feed, directory, now, client, (state, rng, limits, progress))
    except ListError as error:
        why = str(error.facts.get("why", "refused"))
        failed = replace(state, tried_at=now, error=str(error), why=why, failures=state.failures + 1)
        write_state(folder, failed)
        return RefreshReport(feed.name, "refused", why=why, error=str(error))
    write_state(folder, State(now, now, etag=fetched.etag, last_modified=fetched.last_modified))
    return report


_Means = tuple[State, random.Random, Limits, Callable[[int], None] | None]


async def _refresh(
    feed: Feed, directory: Path, now: datetime, client: httpx.AsyncClient, means: _Means
) -> tuple[RefreshReport, Fetched]:
    state, rng, limits, progress = means
    folder = directory / feed.name
    current = _current(folder)
    # Without a list in use the validators of an earlier success would only bring "not modified".
    known = Fetched(None, state.etag, state.last_modified) if current else Fetched(None)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as aside:
        target = Path(aside) / "feed"
        async with _way(feed, client) as way:
            memory = folder / MEMORY if current else None
            fetched = await _bring(feed, target, known, Means(way, feed.login, limits, rng, now, memory))
            if fetched.path is None:
                return RefreshReport(feed.name, "unchanged", current.generation if current else ""), fetched
            check_date(fetched.last_modified, now)
            published = await _published(feed, Path(aside) / "checksum", way, (rng, limits))
        work = (feed, fetched.path, published, now, limits)
        report = await asyncio.to_thread(_swap, work, directory, current, progress)
        if fetched.memory is not None:
            os.replace(fetched.memory, folder / MEMORY)
        return report, fetched


class _way:
    """The feed's own proxy, or the client handed in."""

    def __init__(self, feed: Feed, client: httpx.AsyncClient) -> None:
        self._own = httpx.AsyncClient(proxy=feed.proxy, trust_env=False) if feed.proxy else None
        self._client = self._own or client

    async def __aenter__(self) -> httpx.AsyncClient:
        return self._client

    async def __aexit__(self, *_: object) -> None:
        if self._own:
            await self._own.aclose()


async def _bring(feed: Feed, target: Path, known: Fetched, means: Means) -> Fetched:
    if (collect := COLLECTORS.get(feed.format)) is not None and not feed.url.lower().startswith("file:"):
        return await collect(feed.url, target, means)
    return await fetch(
        feed.url,
        target,
        client=means.client,
        known=known,
        limits=means.limits,
        rng=means.rng,
        headers=means.login.headers(),
    )


async def _published(
    feed: Feed, target: Path, client: httpx.AsyncClient, how: tuple[random.Random, Limits]
) -> bytes | None:
    """The digest that the source publishes, as it publishes it; None where the feed names no place."""
    if not feed.checksum_url:
        return None
    rng, limits = how
    small = replace(limits, packed=65536)
    found = await fetch(feed.checksum_url, target, client=client, known=Fetched(None), limits=small, rng=rng)
    return found.path.read_bytes() if found.path else b""


def _current(folder: Path) -> Index | None:
    try:
        return open_current(folder)
    except ListError:
        return None


_Work = tuple[Feed, Path, bytes | None, datetime, Limits]


def _swap(work: _Work, directory: Path, current: Index | None, progress: Callable[[int], None] | None) -> RefreshReport:
    """Check, parse, build aside, guard; and only then move the pointer. Raises ListError."""
    feed, path, published, now, limits = work
    if published is not None:
        check_checksum(unpacked_or_raw(path), published)
    folder = directory / feed.name
    generation = _generation(folder, now)
    target = folder / f"{generation}.idx"
    try:
        built = build(
            entries(feed, path, limits, now),
            target,
            generation=generation,
            seed=read_seed(directory),
            built_at=now,
            max_entries=feed.max_entries,
            progress=progress,
        )
        check_figures(Figures(built.entries, built.rejected, built.duplicates, current.entries if current else None))
        check_canaries(Index.open(target).find, feed.canary_hits, feed.canary_misses)
    except ListError:
        target.unlink(missing_ok=True)
        raise
    point_to(folder, generation)
    return RefreshReport(feed.name, "new", generation, built.entries, built.rejected, built.duplicates)


def unpacked_or_raw(path: Path) -> Iterable[bytes]:
    """The bytes as they came: sources publish digests of what they serve."""
    with path.open("rb") as file:
        while chunk := file.read(1 << 16):
            yield chunk


def entries(feed: Feed, path: Path, limits: Limits, now: datetime) -> Iterable[Entry]:
    """What stands in the file at `path`; entries that expired before `now` are left out."""
    format = "stix" if feed.format == "taxii" else feed.format
    at = now.timestamp()
    for entry in parse(format, unpacked(path, limits.unpacked), feed.threat):
        if entry.expires is None or entry.expires > at:
            yield entry


def _generation(folder: Path, now: datetime) -> str:
    """An id of up to 16 digits that sorts by time and is new in `folder`."""
    start = f"{now:%Y%m%d%H%M%S}"
    number = 0
    while (folder / f"{start}{number:02d}.idx").exists():
        number += 1
    return f"{start}{number:02d}"


def due(feed: Feed, state: State, now: datetime) -> bool:
    """Whether `feed` is to be fetched: after its interval; after a failure sooner, doubled for each further one."""
    if state.tried_at is None:
        return True
    wait = float(feed.refresh_seconds)
    if state.failures:
        wait = min(wait, 60.0 * 2 ** min(state.failures - 1, 20))
    return (now - state.tried_at).total_seconds() >= wait

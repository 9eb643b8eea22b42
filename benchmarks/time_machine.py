"""The time machine over many held links: dry runs of one object, and looking back from 100,000 new list entries.

SQLite as the service runs it. One link a mail, two holders each; one click for ten links; one entry in a hundred is met.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from benchmarks.bulk import without_indexes
from benchmarks.record import clicks
from redirector.click_sink import SqliteSink
from redirector.clicks import COLUMNS
from reputation.index import Entry, Index
from reputation.index_build import build
from reputation.objects import parse_object
from toc.config import Config, FeedSettings, ReputationSettings
from toc.impact import impact
from toc.knowledge import feeds_of
from toc.looking_back import accusing_list
from toc.policy import Policy
from toc.retrospect import look_back
from toc.store import engine as store
from toc.store.schema import to_micros

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ENTRIES = 100_000
ASKED = 30
BATCH = 10_000
HOSTS = 200_000


def _links(count: int, rng: random.Random) -> Iterator[tuple[bytes, str, str, str]]:
    """Message, URL, host, domain. A tenth of all links lead to ten hosts."""
    for number in range(count):
        host = rng.randrange(10) if rng.random() < 0.1 else rng.randrange(HOSTS)
        domain = f"host{host}.example"
        yield (
            number.to_bytes(8, "big"),
            f"https://www.{domain}/articles/{number}/read?c={number % 97}",
            f"www.{domain}",
            domain,
        )


def load(path: Path, count: int) -> None:
    """Rows first, indexes behind."""
    url = f"sqlite:///{path}"
    store.upgrade(url)
    rng = random.Random(1)
    made = to_micros(NOW - timedelta(days=10))
    with without_indexes(url, "links", "messages", "holders", "clicks"):
        connection = sqlite3.connect(path)
        rows = _links(count, rng)
        while batch := list(islice(rows, BATCH)):
            _insert(connection, batch, made)
        people = [(n.to_bytes(8, "little"), f"person{n}@example.com") for n in range(5000)]
        connection.executemany("INSERT INTO people VALUES (?, ?)", people)
        connection.commit()
        connection.close()
        sink = SqliteSink(str(path))
        chosen = _clicks(count, rng, made)
        while clicked := list(islice(chosen, BATCH)):
            sink.commit(clicked)
        sink.close()


def _clicks(count: int, rng: random.Random, made: int) -> Iterator[tuple[object, ...]]:
    """One for ten links."""
    names = {name: place for place, name in enumerate(COLUMNS)}
    plain = clicks(count // 10, rng)
    for place, (ref, url, host, domain) in enumerate(_links(count, random.Random(1))):
        if place % 10:
            continue
        values = list(next(plain))
        for name, value in (("message_ref", ref), ("url", url), ("host", host), ("domain", domain)):
            values[names[name]] = value
        values[names["recipient_ref"]] = (place % 5000).to_bytes(8, "little")
        values[names["time"]] = made + place
        yield tuple(values)


def _insert(connection: sqlite3.Connection, rows: list[tuple[bytes, str, str, str]], made: int) -> None:
    connection.executemany(
        "INSERT INTO links (message_ref, part, kind, url, spelling, host, domain, outcome, reason) "
        "VALUES (?, '1', 'a', ?, '', ?, ?, 'rewritten', 'sealed')",
        rows,
    )
    connection.executemany(
        "INSERT INTO messages VALUES (?, ?, ?, NULL, 'subject', 0, 1, 1, NULL)",
        [(ref, made, f"<{ref.hex()}@x>") for ref, *_ in rows],
    )
    connection.executemany(
        "INSERT INTO holders VALUES (?, ?)",
        [(ref, ((int.from_bytes(ref, "big") + n) % 5000).to_bytes(8, "little")) for ref, *_ in rows for n in (0, 1)],
    )
    connection.commit()


def questions(rng: random.Random, count: int) -> dict[str, Callable[[], tuple[str, str]]]:
    def number() -> int:
        return rng.randrange(count)

    return {
        "a domain": lambda: ("domain", f"host{rng.randrange(10, HOSTS)}.example"),
        "one of the ten most frequent domains": lambda: ("domain", f"host{rng.randrange(10)}.example"),
        "a host": lambda: ("domain", f"www.host{rng.randrange(10, HOSTS)}.example"),
        "an exact URL": lambda: ("url", f"https://www.host{rng.randrange(HOSTS)}.example/articles/{number()}/read"),
        "an exact URL on a frequent host": lambda: ("url", f"https://www.host{rng.randrange(10)}.example/articles/{number()}/read"),
        "a network": lambda: ("ip", "192.0.2.0/24"),
    }  # fmt: skip


async def dry_runs(url: str, count: int) -> float:
    """The worst p95 in milliseconds."""
    engine = store.open_async(url)
    worst = 0.0
    for name, question in questions(random.Random(2), count).items():
        taken = []
        met = 0
        for _ in range(ASKED):
            kind, value = question()
            entry = parse_object({"type": kind, "value": value}, object_id="o", created=NOW)
            start = time.perf_counter()
            async with engine.connect() as connection:
                found = await impact(connection, entry, Policy(), since=NOW - timedelta(days=30), now=NOW)
            taken.append((time.perf_counter() - start) * 1000)
            met += len(found.held) + len(found.clicks)
        taken.sort()
        worst = max(worst, taken[int(ASKED * 0.95)])
        print(
            f"{name:38} p50 {statistics.median(taken):8.1f} ms, p95 {taken[int(ASKED * 0.95)]:8.1f} ms, {met // ASKED} rows"
        )
    await engine.dispose()
    return worst


async def looking_back(folder: Path, url: str) -> float:
    """Seconds for all new entries of a list that has a million old ones."""
    old = [Entry("host", f"bad{number}.test", number) for number in range(1, 10 * ENTRIES + 1)]
    new = [
        Entry(
            "host",
            f"host{10 + number // 100}.example" if number % 100 == 0 else f"fresh{number}.test",
            number + len(old),
        )
        for number in range(1, ENTRIES + 1)
    ]
    for name, entries in (("g1", old), ("g2", old + new)):
        build(entries, folder / f"{name}.idx", generation=name, seed=bytes(16), built_at=NOW)
    (feed,) = feeds_of(Config(reputation=ReputationSettings(feeds=(FeedSettings(name="f", url="x", format="hosts"),))))
    engine = store.open_async(url)
    start = time.perf_counter()
    index = Index.open(folder / "g2.idx")
    accusers = accusing_list(feed, index, index.beyond(Index.open(folder / "g1.idx")), NOW)
    found = await look_back(engine, accusers, now=NOW)
    taken = time.perf_counter() - start
    print(
        f"{ENTRIES:,} new entries of {len(old) + len(new):,}: {taken:.1f} s, {found.clicks:,} clicks, {found.links:,} links"
    )
    await engine.dispose()
    return taken


def run(full: bool) -> dict[str, object]:
    """The worst p95 of the dry runs."""
    count = 5_000_000 if full else 200_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toc.db"
        start = time.perf_counter()
        load(path, count)
        print(f"{count:,} held links and {count // 10:,} clicks loaded in {time.perf_counter() - start:.0f} s")
        worst = asyncio.run(dry_runs(f"sqlite:///{path}", count))
        asyncio.run(looking_back(Path(folder), f"sqlite:///{path}"))
    return {"name": "time_machine", "ours": round(worst, 1), "peers": {}, "unit": "ms, the worst p95", "ratio": {}}

"""The whole local verdict as a click gets it, and what swaps of a list do to it meanwhile.

URL ─▶ parse ─▶ first seen (SQLite, 100,000 hosts) ─▶ forms ─▶ lists, 10,000 objects ─▶ signs, 10 brands ─▶ verdict
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from reputation.forms import Forms, forms
from reputation.generations import point_to
from reputation.index import HEADER, Header
from reputation.lists import Lists
from toc import keys, snapshot, startup
from toc.knowledge import Knowledge
from toc.sightings import UNKNOWN, StoreReader
from toc.store import engine
from toc.token import Sealed
from toc.url import parse, parse_serialised
from toc.verdict import Verdict
from toc.worker import settle_memory

ROUNDS = 5
OBJECTS = 10_000
SEEN_HOSTS = 100_000
CLICKS, CLICKED_HOSTS = 100_000, 2_000
BRANDS = (
    "paypal",
    "microsoft",
    "google",
    "amazon",
    "netflix",
    "facebook",
    "linkedin",
    "dropbox",
    "docusign",
    "santander",
)
FEED = '[[reputation.feeds]]\nname = "bench"\nurl = "none"\nformat = "domain_list"\n'


def installation(folder: Path) -> tuple[Knowledge, StoreReader]:
    """Keyset, settings, objects and database around the list that lies in ``folder/lists/bench``."""
    now = datetime.now(UTC)
    keyset = keys.create("d-bench", "default", ("https://l.example",), random=os.urandom, now=now - timedelta(days=60))
    keys.save(folder / "keyset.json", keyset)
    brands = "".join(f'[[reputation.brands]]\nname = "{name}"\ndomains = ["{name}.com"]\n' for name in BRANDS)
    (folder / "toc.toml").write_text('[service]\npublic_url = "https://l.example"\n' + FEED + brands)
    snapshot.write(folder, snapshot.Snapshot(counters={"objects": 1}, objects=_objects(now)))
    _remember_hosts(folder / "toc.db", now)
    reader = StoreReader(f"sqlite:///{folder}/toc.db", time.monotonic)
    return Knowledge(startup.read(folder / "toc.toml", {})), reader


def _remember_hosts(path: Path, now: datetime) -> None:
    """The record of an installation that has seen some hosts before."""
    engine.upgrade(f"sqlite:///{path}")
    first = int((now - timedelta(days=50)).timestamp() * 1_000_000)
    rows = ((f"www.seen{number}.example", first, 3, 0, 5, 5) for number in range(SEEN_HOSTS))
    with closing(sqlite3.connect(path)) as base, base:
        base.executemany("INSERT OR IGNORE INTO first_seen VALUES (?, ?, ?, ?, ?, ?)", rows)


def _objects(now: datetime) -> tuple[snapshot.ObjectRow, ...]:
    more = {
        "action": "block",
        "risk_level": None,
        "note": "",
        "source": "",
        "owner": "",
        "created": now,
        "expires": None,
    }
    rows = []
    for number in range(OBJECTS):
        kind = ("domain", "url", "ip")[number % 3]
        host = f"obj{number}.example"
        value = {"domain": host, "url": f"http://{host}/x", "ip": f"198.51.{number % 256}.{number // 256}"}[kind]
        rows.append(snapshot.ObjectRow(id=f"o{number}", type=kind, value=value, **more))
    return tuple(rows)


def measure(folder: Path, questions: Callable[[int], list[str]]) -> dict[str, float]:
    """Rate and latency of whole verdicts on distinct URLs, one core. `questions`: seed → URLs."""
    known, reader = installation(folder)
    now = datetime.now(UTC)

    async def one(url: str) -> Verdict:
        parsed = parse(url)
        return known.local(parsed, now, seen=await reader.sighting(parsed.host))

    async def run() -> tuple[list[float], list[float]]:
        rates, times = [], []
        for turn in range(ROUNDS):
            asked = questions(turn)
            start = time.perf_counter()
            for url in asked:
                await one(url)
            rates.append(len(asked) / (time.perf_counter() - start))
        for url in questions(ROUNDS):
            start = time.perf_counter()
            await one(url)
            times.append(time.perf_counter() - start)
        return rates, sorted(times)

    settle_memory()
    rates, times = asyncio.run(run())
    return {
        "whole verdicts/s": round(statistics.median(rates)),
        "slowest round/s": round(min(rates)),
        "fastest round/s": round(max(rates)),
        "whole verdict p50 µs": round(times[len(times) // 2] * 1e6, 1),
        "whole verdict p99 µs": round(times[len(times) * 99 // 100] * 1e6, 1),
    }


def as_clicks_ask(folder: Path, hosts: Callable[[int], str]) -> dict[str, float]:
    """Rate and latency of the same verdict on the road of a click, where most clicks go to a host that was asked for before.

    Distinct URLs on `CLICKED_HOSTS` hosts, in the order of chance; each host is new once. `hosts`: number → host
    """
    known, reader = installation(folder)
    now = datetime.now(UTC)
    rng = random.Random(5)
    links = [
        Sealed(f"https://www.{hosts(rng.randrange(CLICKED_HOSTS))}/a/b.html?id={number}", now)
        for number in range(CLICKS)
    ]

    async def one(link: Sealed) -> Verdict | None:
        url = parse_serialised(link.target)
        seen = reader.remembered(url.host)
        return known.at_once(url, link, now, await reader.sighting(url.host) if seen is UNKNOWN else seen)

    async def run() -> list[float]:
        times = []
        for link in links:
            start = time.perf_counter()
            assert await one(link) is not None
            times.append(time.perf_counter() - start)
        return times

    settle_memory()
    times = asyncio.run(run())
    rate = len(times) / sum(times)
    times.sort()
    return {
        "as clicks ask/s": round(rate),
        "as clicks ask p50 µs": round(times[len(times) // 2] * 1e6, 1),
        "as clicks ask p99 µs": round(times[len(times) * 99 // 100] * 1e6, 1),
    }


def swaps(folder: Path, questions: list[str], times: int) -> dict[str, float]:
    """So many swaps between two generations as a worker makes them: on a thread beside an event loop that looks up.

    The longest time between two look-ups, and how many matches named another generation than the one that was asked. Beside it
    the longest gap in the same time without a swap: what the machine itself takes away.
    """
    known, _ = installation(folder)
    lists = known.lists
    place = folder / "lists" / "bench"
    first = (place / "current").read_text()
    _copy_generation(place / f"{first}.idx", place / "other.idx")
    asked = [forms(parse(url)) for url in questions]
    swapped = 0

    def swap(number: int) -> int:
        point_to(place, (first, "other")[number % 2 == 0])
        return len(lists.reload_if_changed())

    async def swap_all() -> None:
        nonlocal swapped
        for number in range(times):
            swapped += await asyncio.to_thread(swap, number)

    settle_memory()
    start = time.perf_counter()
    count, mixed, worst = asyncio.run(_look_up_beside(lists, asked, swap_all))
    took = time.perf_counter() - start
    _, _, alone = asyncio.run(_look_up_beside(lists, asked, partial(asyncio.sleep, took)))
    return {
        "swaps": swapped,
        "seconds": round(took, 1),
        "look-ups meanwhile": count,
        "mixed": mixed,
        "longest gap ms": round(worst * 1000, 1),
        "longest gap without swaps ms": round(alone * 1000, 1),
    }


async def _look_up_beside(
    lists: Lists, asked: list[Forms], work: Callable[[], Coroutine[None, None, None]]
) -> tuple[int, int, float]:
    """Look-ups until `work` is done: how many, how many answers of mixed generations, the longest seconds between two."""
    working = asyncio.create_task(work())
    count = mixed = 0
    worst = 0.0
    before = time.perf_counter()
    while not working.done():
        found = lists.look_up(asked[count % len(asked)])
        mixed += any(("bench", match.generation) not in found.generations for match in found.matches)
        count += 1
        now = time.perf_counter()
        worst = max(worst, now - before)
        before = now
        await asyncio.sleep(0)
    await working
    return count, mixed, worst


def _copy_generation(source: Path, target: Path) -> None:
    """The same list under another generation, the name of `target`."""
    raw = source.read_bytes()
    header = Header.unpack(raw[:HEADER], source)
    target.write_bytes(header._replace(generation=target.stem.encode()).pack() + raw[HEADER:])

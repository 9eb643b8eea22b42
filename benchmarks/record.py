"""The click record under searches: latency of the eight that staff ask for, export, size, and ingest while searching.

SQLite as the service runs it, and PostgreSQL as it comes. Hosts and recipients follow a power law, as in real traffic; one mail
in five has a Japanese subject; a quarter of the clicks are on URLs of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.bulk import without_indexes
from redirector import click_search
from redirector.click_sink import open_sink
from redirector.clicks import COLUMNS
from tests.redirector.databases import PLACES, postgres
from toc.store import engine as store
from toc.store.schema import messages, people, subject_grams, to_micros
from toc.store.search_text import grams

START = datetime(2026, 9, 1, tzinfo=UTC)
DAYS = 90
ASKED = 40
BATCH = 5000
MANY = 1_000_000
REASONS = (
    ",untested,",
    ",safe,",
    ",approved,",
    ",punycode,ip_host,",
    ",phishing,",
    ",malware,phishing,",
    ",first_seen,",
)
WEIGHTS = (700, 200, 80, 10, 6, 3, 1)
JAPANESE = ("請求書のご案内", "会議の資料を送ります", "アカウントの確認", "見積もりの件", "配送状況のお知らせ")
ENGLISH = ("Your invoice", "Minutes of our meeting", "Confirm your account", "Delivery update", "Lunch on Friday")


def _skewed(rng: random.Random, size: int) -> int:
    """0 is the most frequent."""
    return min(int(rng.paretovariate(0.6)) - 1, size - 1) if rng.random() < 0.8 else rng.randrange(size)


def clicks(count: int, rng: random.Random, first: int = 0) -> Iterator[tuple[object, ...]]:
    """Rows of `COLUMNS`."""
    step = timedelta(days=DAYS) / max(count, 1)
    for number in range(first, first + count):
        host = _skewed(rng, 20_000)
        path = number if number % 4 == 0 else _skewed(rng, 400)
        message = rng.randrange(max(count // 5, 1))
        client = f"203.{host % 200}.{rng.randrange(250)}.7"
        values: dict[str, Any] = {
            "id": f"{number:032x}", "grp": f"{number:032x}", "time": to_micros(START + step * (number - first)), "event": 1,
            "action": 0, "level": 1, "reasons": rng.choices(REASONS, WEIGHTS)[0],
            "url": f"https://www.host{host}.example/articles/{path}/read?campaign={path % 97}",
            "host": f"www.host{host}.example", "domain": f"host{host}.example", "evidence": "{}",
            "message_ref": message.to_bytes(8, "big"), "recipient_ref": _skewed(rng, 5000).to_bytes(8, "little"),
            "client": client, "network": client.rpartition(".")[0] + ".0/24",
            "user_agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36", "actor": 0,
            "actor_reason": "navigation", "key_id": b"key1", "issued": to_micros(START), "profile": 0, "policy": "abcdefabcdef",
        }  # fmt: skip
        yield tuple(values[name] for name in COLUMNS)


def load(url: str, count: int) -> float:
    """Fill a database; clicks per second, indexes included. Many are brought in first and indexed then."""
    store.upgrade(url)
    rng = random.Random(1)
    start = time.perf_counter()
    with without_indexes(url, "clicks") if count >= MANY else contextlib.nullcontext():
        sink = open_sink(url)
        rows = clicks(count, rng)
        while batch := list(islice(rows, BATCH)):
            sink.commit(batch)
        sink.close()
    rate = count / (time.perf_counter() - start)
    asyncio.run(_load_messages(url, count // 5, rng))
    return rate


async def _load_messages(url: str, count: int, rng: random.Random) -> None:
    engine = store.open_async(url)
    facts = {"time": START, "direction": 0, "size": 1, "complete": True}
    async with engine.begin() as connection:
        for first in range(0, count, BATCH):
            refs = [(number, number.to_bytes(8, "big")) for number in range(first, min(first + BATCH, count))]
            subjects = {ref: f"{rng.choice(JAPANESE if n % 5 == 0 else ENGLISH)} {n}" for n, ref in refs}
            mails = [{"ref": ref, "message_id": f"<{n}@x>", "subject": subjects[ref], **facts} for n, ref in refs]
            await connection.execute(messages.insert(), mails)
            pairs = [(gram, ref) for ref, subject in subjects.items() for gram in sorted(grams(subject))]
            if pairs:
                await connection.execute(
                    subject_grams.insert(), [{"gram": gram, "message_ref": ref} for gram, ref in pairs]
                )
        addresses = [{"ref": n.to_bytes(8, "little"), "address": f"person{n}@example.com"} for n in range(5000)]
        await connection.execute(people.insert(), addresses)
        if engine.dialect.name == "postgresql":
            await connection.exec_driver_sql("ANALYZE")  # as autovacuum does before long
    await engine.dispose()


def questions(rng: random.Random, count: int) -> dict[str, Callable[[], dict[str, str]]]:
    """The eight searches, each with values of its own every time."""
    day = (START + timedelta(days=DAYS - 30)).isoformat()

    def url() -> str:
        host, path = _skewed(rng, 20_000), rng.randrange(0, count, 4)
        return f"https://www.host{host}.example/articles/{path}/read?campaign={path % 97}"

    return {
        "recipient, 30 days": lambda: {"recipient": f"person{_skewed(rng, 5000)}@example.com", "from": day},
        "host": lambda: {"host": f"www.host{_skewed(rng, 20_000)}.example"},
        "registrable domain": lambda: {"domain": f"host{_skewed(rng, 20_000)}.example"},
        "exact URL": lambda: {"url": url()},
        "part of the URL": lambda: {
            "url": rng.choice([f"host{rng.randrange(20_000)}.", f"es/{rng.randrange(count)}/", "www", "cam"])
        },
        "two CJK characters of the subject": lambda: {"subject": rng.choice(["請求", "会議", "見積", "配送", "蜜柑"])},
        "reason": lambda: {"reason": rng.choice(["phishing", "malware", "first_seen", "untested", "ip_host"])},
        "client network": lambda: {"network": f"203.{rng.randrange(200)}.{rng.randrange(250)}.0/24"},
    }  # fmt: skip


async def ask(engine: AsyncEngine, filters: dict[str, str]) -> float:
    """Milliseconds for the first page of 50."""
    async with engine.connect() as connection:
        start = time.perf_counter()
        await click_search.search(connection, filters, limit=50)
        return (time.perf_counter() - start) * 1000


async def plan_of(engine: AsyncEngine, filters: dict[str, str]) -> str:
    """How the database runs the query for the page."""
    seen: list[tuple[str, Any]] = []

    def note(_c: Any, _k: Any, statement: str, parameters: Any, _x: Any, _m: Any) -> None:
        if "ORDER BY clicks.seq DESC" in statement:
            seen.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with engine.connect() as connection:
        await click_search.search(connection, filters, limit=50)
        event.remove(engine.sync_engine, "before_cursor_execute", note)
        if not seen:
            return "no look into the clicks"
        if engine.dialect.name == "postgresql":
            rows = await connection.exec_driver_sql("EXPLAIN " + seen[-1][0], seen[-1][1])
            steps = [row[0].partition("  (cost")[0].strip(" ->") for row in rows if "cost=" in row[0]]
            return "; ".join(steps)
        rows = await connection.exec_driver_sql("EXPLAIN QUERY PLAN " + seen[-1][0], seen[-1][1])
        return "; ".join(str(row[3]) for row in rows)


async def measure(url: str, count: int) -> float:
    """The worst p95 in milliseconds; everything is printed."""
    engine = store.open_async(url)
    rng = random.Random(2)
    worst = 0.0
    for name, question in questions(rng, count).items():
        taken = sorted([await ask(engine, question()) for _ in range(ASKED)])
        p95 = taken[int(len(taken) * 0.95)]
        worst = max(worst, p95)
        print(
            f"{name:34} p50 {statistics.median(taken):7.1f} ms, p95 {p95:7.1f} ms   {await plan_of(engine, question())}"
        )
    exported = 0
    start = time.perf_counter()
    async with engine.connect() as connection:
        async for _ in click_search.stream(connection, {}):
            exported += 1
            if exported >= 100_000:
                break
    print(f"export {exported / (time.perf_counter() - start):,.0f} rows/s")
    await engine.dispose()
    return worst


def _search_for_ever(url: str, count: int) -> None:
    async def search() -> None:
        engine = store.open_async(url)
        asked = questions(random.Random(3), count)
        while True:
            for question in asked.values():
                await ask(engine, question())

    asyncio.run(search())


def ingest_while_searching(url: str, count: int) -> float:
    """Rows per second that go in while another process searches without a pause."""
    searching = multiprocessing.get_context("spawn").Process(target=_search_for_ever, args=(url, count), daemon=True)
    searching.start()
    sink = open_sink(url)
    rows = list(clicks(20_000, random.Random(4), first=count))
    time.sleep(3)  # until it searches
    start = time.perf_counter()
    for place in range(0, len(rows), 500):
        sink.commit(rows[place : place + 500])
    rate = len(rows) / (time.perf_counter() - start)
    sink.close()
    searching.terminate()
    searching.join()
    return rate


async def size_of(url: str) -> int:
    """Bytes on disk, indexes and mails included."""
    if store.is_sqlite(url):
        return sum(file.stat().st_size for file in Path(url.removeprefix("sqlite:///")).parent.iterdir())
    engine = store.open_async(url)
    async with engine.connect() as connection:
        size = await connection.scalar(text("SELECT pg_database_size(current_database())"))
    await engine.dispose()
    return int(size or 0)


def one(url: str, count: int) -> float:
    """The worst p95 of the eight searches in one database; everything is printed."""
    print(f"{count:,} clicks loaded at {load(url, count):,.0f} rows/s")
    print(f"{asyncio.run(size_of(url)) / count:,.0f} bytes a click, indexes and mails included")
    worst = asyncio.run(measure(url, count))
    print(f"ingest while searching: {ingest_while_searching(url, count):,.0f} rows/s")
    return worst


def run(full: bool) -> dict[str, object]:
    """The worst p95 of the eight searches on SQLite; PostgreSQL, where it is installed, beside it."""
    count = 5_000_000 if full else 200_000
    with tempfile.TemporaryDirectory() as folder:
        worst = one(f"sqlite:///{folder}/toc.db", count)
    peers = {}
    if PLACES:
        with tempfile.TemporaryDirectory() as folder, postgres(Path(folder)) as url:
            print("PostgreSQL:")
            peers["PostgreSQL"] = round(one(url, count), 1)
    ratio = {name: round(worst / figure, 2) for name, figure in peers.items()}
    return {"name": "record", "ours": round(worst, 1), "peers": peers, "unit": "ms, the worst p95", "ratio": ratio}

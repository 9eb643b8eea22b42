"""A look-up of a URL in a large list: all forms and expressions, every host suffix, beside what one would do else.

    names ─▶ index │ Python set │ SQLite │ LMDB        the same questions, interleaved

Peers answer less: they are asked for the host and its parents only, as a set of host names can; we are asked for the
whole answer (forms, expressions, list line). Prints what an operator needs to size a machine.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import verdict_whole
from reputation.feeds import Feed
from reputation.forms import forms, host_suffixes
from reputation.generations import point_to, read_seed
from reputation.index import Entry, Index
from reputation.index_build import build
from reputation.lists import Lists
from toc.url import parse
from toc.verdict import ThreatType

MILLION = 1_000_000
ROUNDS = 5
QUESTIONS = 10_000
LISTED = 0.1


def name(number: int) -> str:
    """A host name of ordinary length; odd numbers are asked for and never listed."""
    return f"{number:x}-login.example{number % 997}.com"


def entries(count: int) -> Iterator[Entry]:
    for number in range(count):
        yield Entry("host", name(2 * number), number + 1, ThreatType.PHISHING)


def questions(count: int, seed: int) -> list[str]:
    """Distinct URLs, one in ten of them listed: more than honest mail has, so that hits count for something."""
    rng = random.Random(seed)
    chosen = [2 * rng.randrange(count) + (rng.random() >= LISTED) for _ in range(QUESTIONS)]
    return [f"https://www.{name(number)}/a/b.html?id={number}" for number in chosen]


Peer = Callable[[str], bool]


def _set(count: int) -> Peer:
    known = {entry.value for entry in entries(count)}
    return lambda host: any(suffix in known for suffix in host_suffixes(host))


def _sqlite(count: int, folder: Path) -> Peer:
    base = sqlite3.connect(folder / "peer.sqlite")
    base.execute("create table known (host text primary key) without rowid")
    base.executemany("insert into known values (?)", ((entry.value,) for entry in entries(count)))
    base.commit()
    ask = "select 1 from known where host = ?"
    return lambda host: any(base.execute(ask, (suffix,)).fetchone() for suffix in host_suffixes(host))


def _lmdb(count: int, folder: Path) -> Peer | None:
    try:
        import lmdb
    except ImportError:
        return None
    store = lmdb.open(str(folder / "lmdb"), map_size=max(count * 200, 1 << 24))
    with store.begin(write=True) as writing:
        for entry in entries(count):
            writing.put(entry.value.encode(), b"")
    reading = store.begin()
    return lambda host: any(reading.get(suffix.encode()) is not None for suffix in host_suffixes(host))


def _rate(ask: Callable[[str], object], asked: list[str]) -> float:
    start = time.perf_counter()
    for question in asked:
        ask(question)
    return len(asked) / (time.perf_counter() - start)


def measure(count: int, folder: Path) -> dict[str, float]:
    """Build a list of `count` entries in `folder` and measure it. Sizes in bytes, times in seconds, rates a second."""
    target = folder / "bench" / "g1.idx"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    built = build(entries(count), target, generation="g1", seed=read_seed(folder), built_at=datetime.now(UTC))
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    point_to(folder / "bench", "g1")
    start = time.perf_counter()
    index = Index.open(target)
    opened = time.perf_counter() - start
    lists = Lists.open(folder, [Feed("bench", "file:///none", "domain_list")])
    text = index.header.sizes[0]
    times = []
    for question in questions(count, 99):
        start = time.perf_counter()
        lists.look_up(forms(parse(question)))
        times.append(time.perf_counter() - start)
    times.sort()
    return {
        "entries": count,
        "build seconds": round(took, 1),
        "build peak MB": round(peak / 1024),
        "build peak MB above the start": round((peak - before) / 1024),
        "bytes an entry": round(built.size / count, 2),
        "of them without the text": round((built.size - text) / count, 2),
        "open µs": round(opened * 1e6),
        "look-up p50 µs": round(times[len(times) // 2] * 1e6, 1),
        "look-up p99 µs": round(times[len(times) * 99 // 100] * 1e6, 1),
        **_extra_memory(folder),
    }


_WORKER = """
import sys
from pathlib import Path
from reputation.feeds import Feed
from reputation.lists import Lists
def memory():
    lines = [line.split() for line in open("/proc/self/smaps_rollup")]
    pss = sum(int(line[1]) for line in lines if line[0] == "Pss:")
    return pss, sum(int(line[1]) for line in lines if line[0] in ("Private_Clean:", "Private_Dirty:"))
before = memory()
lists = Lists.open(Path(sys.argv[1]), [Feed("bench", "file:///none", "domain_list")])
print(*(now - then for now, then in zip(memory(), before)), flush=True)
sys.stdin.read()
"""


def _extra_memory(folder: Path) -> dict[str, float]:
    """MB of the third worker, while two others and this process have the same list mapped: its share, and its own."""
    with contextlib.ExitStack() as stack:
        shared = own = 0.0
        for _ in range(3):
            worker = subprocess.Popen(
                [sys.executable, "-c", _WORKER, str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(worker.communicate)
            assert worker.stdout is not None
            shared, own = (round(int(text) / 1024, 1) for text in worker.stdout.readline().split())
    return {"PSS of the third worker MB": shared, "of it private MB": own}


def run(full: bool) -> dict[str, object]:
    """One million entries; with `full` also 10 and 50 million. The object that `scripts/bench --json` prints."""
    count = MILLION
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOC_BENCH_DIR")) as name_of:
        folder = Path(name_of)
        for size in [count, 10 * MILLION, 50 * MILLION] if full else [count]:
            place = folder / str(size)
            figures = measure(size, place / "lists") | verdict_whole.measure(place, partial(questions, size))
            figures |= verdict_whole.as_clicks_ask(place, lambda number: name(2 * number + 1))
            print("  ".join(f"{key}: {value:,}" for key, value in figures.items()), flush=True)
        swapped = verdict_whole.swaps(folder / str(count), questions(count, 77), 10_000 if full else 500)
        print("  ".join(f"{key}: {value:,}" for key, value in swapped.items()), flush=True)
        lists = Lists.open(folder / str(count) / "lists", [Feed("bench", "file:///none", "domain_list")])
        peers = {"Python set": _set(count), "SQLite": _sqlite(count, folder), "LMDB": _lmdb(count, folder)}
        asking: dict[str, Callable[[str], object]] = {"ours": lambda url: lists.look_up(forms(parse(url)))}
        for peer, ask in peers.items():
            if ask is not None:
                asking[peer] = lambda url, ask=ask: ask(parse(url).host)
            else:
                print(f"{peer} is not installed: left out")
        gc.freeze()
        rates: dict[str, list[float]] = {key: [] for key in asking}
        for turn in range(ROUNDS):
            asked = questions(count, turn)
            for key, ask in asking.items():
                rates[key].append(_rate(ask, asked))
    for key, found in rates.items():
        print(f"{key}: median {statistics.median(found):,.0f}/s, {min(found):,.0f} to {max(found):,.0f}")
    medians = {key: round(statistics.median(found)) for key, found in rates.items()}
    ours = medians.pop("ours")
    ratio = {peer: round(ours / figure, 3) for peer, figure in medians.items()}
    return {"name": "verdict", "ours": ours, "peers": medians, "unit": "look-ups/s", "ratio": ratio}

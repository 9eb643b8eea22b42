"""Many times the capacity, for a while: what is served stays fast, the rest gets 503, memory stays flat, then all is well.

    wrk, as many connections as a flood has ─▶ one worker ◀─ 20 readers a second, who measure what people would see

wrk asks anew as soon as it is refused, so that the load is whatever the machine can send; the ratio says how much that was.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.click import Figures, Wrk
from benchmarks.click_servers import ours, paths
from tests.e2e.load import ask

MILLION = 1_000_000
CONNECTIONS = 4_000
SECONDS, FULL_SECONDS = 15, 60
READERS = 20.0


@dataclass
class Readers:
    """What readers met: (when it was asked, seconds to the answer, status)."""

    met: list[tuple[float, float, int]] = field(default_factory=list)

    def served(self, start: float, end: float) -> list[float]:
        return sorted(took for when, took, status in self.met if start <= when < end and status == 302)

    def statuses(self, start: float, end: float) -> dict[int, int]:
        found: dict[int, int] = {}
        for when, _, status in self.met:
            if start <= when < end:
                found[status] = found.get(status, 0) + 1
        return found


@contextlib.contextmanager
def reading(base: str, links: list[str]):
    """Readers, each on a new connection, in a thread of their own."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    readers, ended = Readers(), threading.Event()

    async def one(path: str) -> None:
        began = time.monotonic()
        status = await ask((host, int(port)), path)
        readers.met.append((began, time.monotonic() - began, status))

    async def run() -> None:
        async with asyncio.TaskGroup() as tasks:
            number = 0
            while not ended.is_set():
                tasks.create_task(one(links[number % len(links)]))
                number += 1
                await asyncio.sleep(1 / READERS)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield readers
    finally:
        ended.set()
        thread.join()


def memory(pid: int) -> float:
    """Megabytes that the process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def run(full: bool) -> dict[str, object]:
    """15 seconds, `full`: a minute. The object that `scripts/bench --json` prints: served p99 under flood and at rest."""
    seconds = FULL_SECONDS if full else SECONDS
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOC_BENCH_DIR")) as name:
        folder = Path(name)
        with ours(folder, MILLION) as (target, service):
            links = paths(service.settings.parent / "keyset.json", 20_000, 1_000)
            wrk = Wrk(folder, links)
            wrk.ask(target, 2)
            capacity = wrk.ask(target, 5)
            with reading(target.base, links) as readers:
                time.sleep(5)
                before, start = memory(target.pids[0]), time.monotonic()
                half = threading.Timer(seconds / 2, lambda: middle.append(memory(target.pids[0])))
                middle: list[float] = []
                half.start()
                flood = wrk.ask(target, seconds, CONNECTIONS)
                end = time.monotonic()
                after = memory(target.pids[0])
                time.sleep(8)
    return report(capacity, flood, readers, (start, end), (before, middle[0], after))


def report(
    capacity: Figures, flood: Figures, readers: Readers, span: tuple[float, float], held: tuple[float, float, float]
) -> dict[str, object]:
    start, end = span
    calm, served = readers.served(start - 4, start), readers.served(start + 1, end)
    late = [when - end for when, took, status in readers.met if when >= end and (status != 302 or took > 0.1)]
    p99 = served[len(served) * 99 // 100] * 1000 if served else float("nan")
    print(
        f"capacity {capacity.rate:,.0f} clicks/s; flood {flood.rate:,.0f}/s answered, {flood.failed} of them not served"
    )
    found = f"served p50 {statistics.median(served or [0]) * 1000:.0f} ms, p99 {p99:.0f} ms"
    print(f"readers under flood: {readers.statuses(start + 1, end)}; {found}")
    print(f"memory before, in the middle, after: {', '.join(f'{each:.0f} MB' for each in held)}")
    rest = round(calm[len(calm) * 99 // 100] * 1000, 1)
    print(f"normal again {max(late, default=0.0):.1f} s after the flood; at rest p99 {rest} ms")
    return {
        "name": "overload",
        "ours": round(p99),
        "peers": {"ours at rest": rest},
        "unit": "ms (p99 of what is served)",
        "ratio": {"ours at rest": round(p99 / rest, 1)},
    }

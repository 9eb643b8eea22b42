"""A click beside a bare redirect: wrk on one core, one worker on the other; then the latency at an ordinary rate.

    wrk ─▶ ours: token, verdict over a large list, durable record, 302
        ─▶ Starlette RedirectResponse, same uvicorn settings, nothing else
        ─▶ nginx `return 302`, for scale

The three are asked in turns, with the same distinct paths and a browser's headers; medians of the turns. Needs Debian's
wrk; nginx is left out where it is missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop

from benchmarks.click_servers import CLIENT_CORE, Target, nginx, ours, paths, starlette
from redirector.journal import is_shipped
from tests.e2e.conftest import READER, Service

MILLION = 1_000_000
TURNS = 5
SECONDS = 5
CONNECTIONS = 32
LINKS, HOSTS = 40_000, 2_000
RATE, PACED_SECONDS = 300, 20
SUSTAINED_SECONDS = 60

SCRIPT = """
local requests, at = {}, 0
function init(arguments)
  local headers = { %s }
  for path in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", path, headers)
  end
end
function request()
  at = at %% #requests + 1
  return requests[at]
end
"""


@dataclass(frozen=True)
class Figures:
    """Requests a second; milliseconds; answers that were no redirect, and broken connections; requests.

    cpu: microseconds that a request cost the server's process: what a machine shared with others changes least
    """

    rate: float
    p50: float
    p99: float
    failed: int
    requests: int
    cpu: float = 0.0


class Wrk:
    """wrk with a file of paths, on its own core."""

    def __init__(self, folder: Path, links: list[str]) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise SystemExit("wrk is not installed: apt-get install wrk")
        self._program = program
        self._paths = folder / "paths"
        self._paths.write_text("\n".join(links) + "\n")
        self._script = folder / "wrk.lua"
        headers = ", ".join(f'["{key}"] = "{value}"' for key, value in READER.items())
        self._script.write_text(SCRIPT % headers)

    def ask(self, target: Target, seconds: float, connections: int = CONNECTIONS) -> Figures:
        command = ["taskset", "-c", str(CLIENT_CORE), self._program, "-t1", f"-c{connections}", f"-d{seconds}s"]
        command += ["--latency", "--timeout", "10s", "-s", str(self._script), target.base, "--", str(self._paths)]
        before = target.cpu_seconds()
        found = read(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return replace(found, cpu=(target.cpu_seconds() - before) / max(found.requests, 1) * 1e6)


def read(text: str) -> Figures:
    """What wrk printed. Redirects are no failure for it, answers of 400 and over are."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    assert rate, text
    assert count, text
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(bad[1]) if bad else 0) + (sum(map(int, broken.groups())) if broken else 0)
    return Figures(float(rate[1]), _milliseconds(text, "50"), _milliseconds(text, "99"), failed, int(count[1]))


def _milliseconds(text: str, percent: str) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m)\s*$", text, re.MULTILINE)
    assert found, text
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[found[2]]


async def paced(base: str, links: list[str], rate: int, seconds: float) -> list[float]:
    """Milliseconds from when a request was due to its whole answer: `rate` a second, whether or not the last came back."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    head = "".join(f"{key}: {value}\r\n" for key, value in READER.items())
    found: list[float] = []

    async def one(path: str, due: float) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n{head}\r\n".encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        found.append((time.perf_counter() - due) * 1000)
        assert answer.startswith(b"HTTP/1.1 302"), answer
        idle.append((reader, writer))

    async with asyncio.TaskGroup() as tasks:
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(one(links[number % len(links)], max(due, time.perf_counter())))
    for _, writer in idle:
        writer.close()
    return sorted(found)


def recorded(folder: Path) -> int:
    base = sqlite3.connect(folder / "toc" / "toc.db")
    return int(base.execute("SELECT count(*) FROM clicks").fetchone()[0])


def run(full: bool) -> dict[str, object]:
    """A list of one million entries, `full`: ten. The object that `scripts/bench --json` prints."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOC_BENCH_DIR")) as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        target, service = stack.enter_context(ours(folder, 10 * MILLION if full else MILLION))
        links = paths(service.settings.parent / "keyset.json", LINKS, HOSTS)
        wrk = Wrk(folder, links)
        targets = [target, stack.enter_context(starlette()), stack.enter_context(nginx(folder))]
        spools = service.settings.parent / "spool"
        found = turns(wrk, [each for each in targets if each is not None], spools)
        _latency(targets[:2], links)
        if full:
            sustained(wrk, target, service)
        print(f"{recorded(folder):,} clicks on record")
    return summary(found)


def turns(wrk: Wrk, targets: list[Target], spools: Path) -> dict[str, list[Figures]]:
    """What ours has in its journal still goes into the database before another one's turn: nobody works beside it."""
    for target in targets:
        wrk.ask(target, 2)
    found: dict[str, list[Figures]] = {target.name: [] for target in targets}
    behind = []
    for _ in range(TURNS):
        for target in targets:
            found[target.name].append(wrk.ask(target, SECONDS))
            behind.append(_until_shipped(spools))
    print(f"after {SECONDS} s of flood the database took {max(behind):.1f} s at most to have it all")
    for key, figures in found.items():
        rates = [each.rate for each in figures]
        print(
            f"{key}: median {statistics.median(rates):,.0f}/s, {min(rates):,.0f} to {max(rates):,.0f}; "
            f"p50 {statistics.median(each.p50 for each in figures):.2f} ms, "
            f"p99 {statistics.median(each.p99 for each in figures):.2f} ms, {min(each.p99 for each in figures):.2f} to "
            f"{max(each.p99 for each in figures):.2f}; "
            f"CPU {statistics.median(each.cpu for each in figures):.0f} µs a request, "
            f"failed {sum(each.failed for each in figures)}",
            flush=True,
        )
    return found


def sustained(wrk: Wrk, target: Target, service: Service) -> None:
    """Longer than the journal has room for: the database has to keep up, on the core that it shares with wrk."""
    for part in range(SUSTAINED_SECONDS // SECONDS):
        found = wrk.ask(target, SECONDS)
        print(
            f"sustained, from second {part * SECONDS}: {found.rate:,.0f}/s, p50 {found.p50:.2f} ms, p99 {found.p99:.2f} ms, "
            f"failed {found.failed}",
            flush=True,
        )
    behind = _until_shipped(service.settings.parent / "spool")
    kept = re.findall(r'toc_records_total\{kept="(\w+)"\} (\S+)', service.call("GET", "/metrics").text)
    print(f"after {SUSTAINED_SECONDS} s the database was behind by {behind:.1f} s; records kept: {dict(kept)}")


def _latency(targets: list[Target | None], links: list[str]) -> None:
    for target in targets:
        assert target is not None
        times = uvloop.run(paced(target.base, links, RATE, PACED_SECONDS))
        p50, p99, worst = times[len(times) // 2], times[len(times) * 99 // 100], times[-1]
        print(f"{target.name} at {RATE}/s: p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {worst:.1f} ms", flush=True)


def _until_shipped(spools: Path) -> float:
    """Seconds until the database holds every click that was answered."""
    start = time.perf_counter()
    while not is_shipped(spools):
        time.sleep(0.05)
    return time.perf_counter() - start


def summary(found: dict[str, list[Figures]]) -> dict[str, object]:
    medians = {key: round(statistics.median(each.rate for each in figures)) for key, figures in found.items()}
    own = medians.pop("ours")
    ratio = {peer: round(own / figure, 3) for peer, figure in medians.items()}
    return {"name": "click", "ours": own, "peers": medians, "unit": "clicks/s", "ratio": ratio}

"""Mails through a real Postfix with our milter, beside the same Postfix alone.

    client ─▶ Postfix ─▶ `toc milter` (the product, with its pool, database and keys) ─▶ smtp-sink

Latency: one mail at a time over one session, alternating between the two, milliseconds from DATA's end to the answer.
Throughput: smtp-source with ten sessions, messages per second until the sink has all. Needs root and Debian's postfix.
"""

from __future__ import annotations

import contextlib
import os
import smtplib
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.message import large, small
from tests.e2e.milter import Milter
from tests.e2e.postfix import Postfix, Sink, crlf, postfix, require
from tests.ports import free_port

SIZES = {"10 KB": 10_000, "50 KB": 50_000, "100 KB": 100_000, "5 MB": 5_000_000}
ROUNDS = {"10 KB": 60, "50 KB": 60, "100 KB": 40, "5 MB": 5}
MESSAGES = 300
SESSIONS = 10
ALONE = "Postfix alone"


@dataclass
class Discard(Sink):
    """smtp-sink: takes everything and keeps nothing, in a process of its own."""

    listens: int

    @property
    def port(self) -> int:
        return self.listens


@contextlib.contextmanager
def discarding() -> Iterator[Discard]:
    sink = Discard(free_port())
    process = subprocess.Popen([require("smtp-sink"), "-u", "nobody", f"127.0.0.1:{sink.port}", "200"])
    try:
        yield sink
    finally:
        process.terminate()
        process.wait()


def newsletter(size: int) -> bytes:
    """A mail of about `size` bytes with 32 links; over a megabyte nearly all of it is an attachment."""
    return crlf(large(size) if size > 1_000_000 else small(size))


def latency(servers: dict[str, Postfix], content: bytes, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per mail, by server, interleaved."""
    taken: dict[str, list[float]] = {name: [] for name in servers}
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(server.connect()) for name, server in servers.items()}
        for client in clients.values():
            client.ehlo()
        for number in range(rounds + 3):
            for name, client in clients.items():
                took = _one(client, content)
                if number >= 3:  # the first ones wake the processes up
                    taken[name].append(took)
    return taken


def _one(client: smtplib.SMTP, content: bytes) -> float:
    client.mail("a@example.org")
    client.rcpt("b@example.net")
    start = time.perf_counter()
    code, answer = client.data(content)
    assert code == 250, answer
    return (time.perf_counter() - start) * 1000


def throughput(server: Postfix, content: bytes, messages: int) -> float:
    """Messages per second through smtp-source's sessions, until the queue is empty."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content.replace(b"\r\n", b"\n"))
        file.flush()
        command = [require("smtp-source"), "-s", str(SESSIONS), "-m", str(messages), "-d", "-F", file.name]
        command += ["-f", "a@example.org", "-t", "b@example.net", f"127.0.0.1:{server.port}"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        server.wait_until_empty()
        return messages / (time.perf_counter() - start)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(servers: dict[str, Postfix], full: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Median messages per second by server, and added milliseconds by size (p50)."""
    added: dict[str, float] = {}
    for size, octets in SIZES.items():
        taken = latency(servers, newsletter(octets), ROUNDS[size] * (3 if full else 1))
        p50 = {name: percentile(values, 0.5) for name, values in taken.items()}
        p99 = {name: percentile(values, 0.99) for name, values in taken.items()}
        added[size] = p50["ours"] - p50[ALONE]
        print(
            f"{size:7} p50 {p50['ours']:8.1f} ms, alone {p50[ALONE]:8.1f}, added {added[size]:7.1f}"
            f"   p99 {p99['ours']:8.1f} ms, alone {p99[ALONE]:8.1f}, added {p99['ours'] - p99[ALONE]:7.1f}"
        )
    rates: dict[str, list[float]] = {name: [] for name in servers}
    for _ in range(5 if full else 3):
        for name, server in servers.items():
            rates[name].append(throughput(server, newsletter(10_000), MESSAGES * (5 if full else 1)))
    for name, values in rates.items():
        median = statistics.median(values)
        print(f"{name:14} {median:7.1f} messages/s of 10 KB  (min {min(values):.1f}, max {max(values):.1f})")
    return {name: statistics.median(values) for name, values in rates.items()}, added


def run(full: bool) -> dict[str, object]:
    """Messages per second of 10 KB with the milter and without; the added latency is printed."""
    print(f"{os.cpu_count()} processors")
    with contextlib.ExitStack() as stack:
        milter = Milter.installed(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        milter.start()
        stack.callback(milter.stop)
        sink = stack.enter_context(discarding())
        servers = {
            "ours": stack.enter_context(postfix(sink, milter=milter.for_postfix)),
            ALONE: stack.enter_context(postfix(sink)),
        }
        rates, added = measure(servers, full)
    return {
        "name": "gateway",
        "ours": round(rates["ours"], 1),
        "peers": {ALONE: round(rates[ALONE], 1)},
        "unit": "messages/s",
        "ratio": {ALONE: round(rates["ours"] / rates[ALONE], 3)},
        "added_ms_p50": {size: round(value, 1) for size, value in added.items()},
    }

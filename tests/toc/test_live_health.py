"""How live sources fare, over several processes.

Invariants: counts are summed, and the worst state wins; what a process that has ended has told is forgotten; a file that is none,
or no folder at all, hides nothing of the others; the counters of the metrics grow by exactly what was asked.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from reputation.breaker import Found, LiveSource, Patience, SourceError
from reputation.forms import Reading, forms
from toc.live_health import FRESH_SECONDS, TELL_SECONDS, Health, State, Teller, healths, show_open
from toc.url import parse

EVIL = forms(parse("http://evil.example/")).readings


class Answering:
    """A source that answers or fails as it is told."""

    required = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.error = ""

    def keys(self, reading: Reading) -> tuple[str, ...]:
        return (reading.host,)

    async def fetch(self, keys: tuple[str, ...]) -> Mapping[str, Found]:
        if self.error:
            raise SourceError(self.error)
        return {key: Found((), 1.0) for key in keys}

    async def close(self) -> None: ...


class Process:
    """What one process of a service has: a source, a clock and a teller."""

    def __init__(self, folder: Path, name: str = "dbl") -> None:
        self.now = 1000.0
        self.wire = Answering(name)
        self.live = LiveSource(self.wire, clock=lambda: self.now, rng=random.Random(1), patience=Patience(failures=3))
        self.teller = Teller([self.live], folder, self.clock, lambda: self.now)

    def clock(self) -> datetime:
        return datetime.now(UTC)

    async def ask(self, times: int = 1, error: str = "") -> None:
        self.wire.error = error
        for _ in range(times):
            await self.live.ask(EVIL)
            self.now += 2.0  # what the cache holds is over

    def tell(self, pid: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a process with this number."""
        monkeypatch.setattr(os, "getpid", lambda: pid)
        Teller([self.live], self.teller._path.parent, self.clock, lambda: self.now).tell()
        monkeypatch.undo()


def only(folder: Path, later: float = 0.0) -> Health:
    (found,) = healths(folder, datetime.now(UTC) + timedelta(seconds=later))
    return found


@pytest.mark.parametrize(
    ("answers", "failures", "state"),
    [(0, 0, State.UNASKED), (2, 0, State.GOOD), (0, 1, State.SILENT), (2, 2, State.SILENT), (2, 3, State.OPEN)],
)
async def test_the_states(tmp_path: Path, answers: int, failures: int, state: State) -> None:
    process = Process(tmp_path)
    await process.ask(answers)
    await process.ask(failures, "SERVFAIL")
    process.teller.tell()
    found = only(tmp_path)
    assert (found.state, found.silences) == (state, failures)
    assert found.error == ("SERVFAIL" if failures else "")
    assert (found.since is None) is (answers + failures == 0)


async def test_the_worst_of_all_processes_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, idle, broken = Process(tmp_path), Process(tmp_path), Process(tmp_path)
    await good.ask(7)
    await broken.ask(3, "no answer in 2 s")
    broken.now += 60
    for pid, process in enumerate((good, idle, broken), 10):
        process.tell(pid, monkeypatch)
    found = only(tmp_path)
    assert (found.state, found.troubled, found.processes) == (State.OPEN, 1, 3)
    assert (found.answers, found.silences, found.error) == (7, 3, "no answer in 2 s")
    assert abs((datetime.now(UTC) - found.since).total_seconds() - 60) < 30
    show_open([found])
    assert REGISTRY.get_sample_value("toc_source_open", {"source": "dbl"}) == 1.0


async def test_it_recovers(tmp_path: Path) -> None:
    process = Process(tmp_path)
    await process.ask(3, "SERVFAIL")
    process.now += 1000
    await process.ask(1)
    process.teller.tell()
    found = only(tmp_path)
    assert (found.state, found.error) == (State.GOOD, "SERVFAIL"), "the last error stays, with its time"
    show_open([found])
    assert REGISTRY.get_sample_value("toc_source_open", {"source": "dbl"}) == 0.0


async def test_what_has_ended_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Process(tmp_path).tell(10, monkeypatch)
    assert only(tmp_path, FRESH_SECONDS - 5).processes == 1
    assert healths(tmp_path, datetime.now(UTC) + timedelta(seconds=FRESH_SECONDS + 1)) == ()


async def test_files_that_are_none_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Process(tmp_path).tell(10, monkeypatch)
    for number, content in enumerate((b"", b"{", b"[{}]", b'[{"name": 3}]', b"\xff")):
        (tmp_path / f"live-{number}.json").write_bytes(content)
    assert only(tmp_path).processes == 1
    assert healths(tmp_path / "none", datetime.now(UTC)) == ()
    assert healths(None, datetime.now(UTC)) == ()


async def test_counters_grow_by_what_was_asked(tmp_path: Path) -> None:
    def shown(outcome: str) -> float:
        return REGISTRY.get_sample_value("toc_source_answers_total", {"source": "counted", "outcome": outcome}) or 0.0

    process = Process(tmp_path, "counted")
    for answers, failures in ((2, 0), (1, 1), (0, 0)):
        before = shown("answered"), shown("silent")
        await process.ask(answers)
        await process.ask(failures, "no")
        process.teller.tell()
        assert (shown("answered"), shown("silent")) == (before[0] + answers, before[1] + failures)
        process.teller.tell()  # at once again: not its time yet
        process.now += TELL_SECONDS


async def test_a_full_disk_stops_nothing(tmp_path: Path) -> None:
    process = Process(tmp_path / "gone")
    process.teller.tell()
    assert healths(tmp_path / "gone", datetime.now(UTC)) == ()


def test_without_sources_nothing_is_told(tmp_path: Path) -> None:
    Teller([], tmp_path, lambda: datetime.now(UTC)).tell()
    assert list(tmp_path.iterdir()) == []

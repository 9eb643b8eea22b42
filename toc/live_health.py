"""How the live sources fare, over all processes of this service on this machine.

Each process tells what it finds in a file beside the counters of all (`toc.server`); the management process reads them. A file
that is no longer renewed is that of a process that has ended.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import msgspec
from prometheus_client import Gauge

from redirector.metrics import Tally
from reputation.breaker import LiveSource

ANSWERS = Tally("toc_source_answers_total", "Questions to a live source by outcome", ["source", "outcome"])
OPEN = Gauge(
    "toc_source_open",
    "Processes that leave a live source alone, as it failed too often",
    ["source"],
    multiprocess_mode="mostrecent",  # told by the management process alone
)

TELL_SECONDS = 2.0
FRESH_SECONDS = 30.0
"""Longer than a busy process needs to come round to telling."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One source as one process finds it.

    answers, silences: what its questions got in time, and what they did not, answers from its cache too
    answered:          when the source itself answered last      failing: since when it has not
    error:             what it failed with last, at `failed`      open: nobody may ask it now, or one is to try
    """

    name: str
    required: bool
    open: bool
    answers: int
    silences: int
    answered: datetime | None
    failing: datetime | None
    failed: datetime | None
    error: str


class State(StrEnum):
    """The worse the later."""

    UNASKED = "unasked"
    GOOD = "good"
    SILENT = "silent"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Health:
    """One source over all processes. `since`: of the trouble, else the last answer; `troubled` of `processes` have that state."""

    name: str
    required: bool
    state: State
    since: datetime | None
    error: str
    failed: datetime | None
    answers: int
    silences: int
    troubled: int
    processes: int


def folder_of_all() -> Path | None:
    """Where processes of this service leave figures for each other; None outside of `toc serve`."""
    found = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(found) if found else None


class Teller:
    """One per process. clock: UTC      monotonic: the clock of the sources"""

    def __init__(
        self,
        sources: Sequence[LiveSource],
        folder: Path | None,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = tuple(sources)
        self._path = folder / f"live-{os.getpid()}.json" if folder is not None and sources else None
        self._clock = clock
        self._monotonic = monotonic
        self._next = 0.0
        self._counted: dict[tuple[str, str], int] = {}

    def tell(self) -> None:
        """May be called at any rate. Counters that cannot be written now are written later."""
        if self._path is None or self._monotonic() < self._next:
            return
        self._next = self._monotonic() + TELL_SECONDS
        found = self._findings()
        for each in found:
            self._count((each.name, "answered"), each.answers)
            self._count((each.name, "silent"), each.silences)
        ANSWERS.flush()
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk costs a view of the console, and no click
            aside.write_bytes(msgspec.json.encode(found))
            aside.replace(self._path)

    def _count(self, labels: tuple[str, str], total: int) -> None:
        ANSWERS.add(labels, total - self._counted.get(labels, 0))
        self._counted[labels] = total

    def _findings(self) -> list[Finding]:
        now, monotonic = self._clock(), self._monotonic()

        def moment(at: float | None) -> datetime | None:
            return None if at is None else now - timedelta(seconds=monotonic - at)

        return [
            Finding(
                name=source.name,
                required=source.required,
                open=source.breaker.tripped,
                answers=source.answers,
                silences=source.silences,
                answered=moment(source.answered_at),
                failing=moment(source.failing_since),
                failed=moment(source.failed_at),
                error=source.last_error,
            )
            for source in self._sources
        ]


def healths(folder: Path | None, now: datetime) -> tuple[Health, ...]:
    """Of every source, in the order of the settings."""
    if folder is None:
        return ()
    told: dict[str, list[Finding]] = {}
    for path in sorted(folder.glob("live-*.json")):
        for finding in _read(path, now):
            told.setdefault(finding.name, []).append(finding)
    return tuple(_health(found) for found in told.values())


def show_open(found: Sequence[Health]) -> None:
    """Into the metrics, before they are shown."""
    for health in found:
        OPEN.labels(health.name).set(health.troubled if health.state is State.OPEN else 0)


def _read(path: Path, now: datetime) -> list[Finding]:
    try:
        if now.timestamp() - path.stat().st_mtime > FRESH_SECONDS:
            return []
        return msgspec.json.decode(path.read_bytes(), type=list[Finding])
    except (OSError, msgspec.MsgspecError):
        return []


def _state(finding: Finding) -> State:
    if finding.open:
        return State.OPEN
    if finding.failing is not None:
        return State.SILENT
    return State.UNASKED if finding.answered is None else State.GOOD


def _health(found: Sequence[Finding]) -> Health:
    states = [_state(each) for each in found]
    worst = max(states, key=list(State).index)
    failing = [each.failing for each in found if each.failing is not None]
    answered = [each.answered for each in found if each.answered is not None]
    errors = [(each.failed, each.error) for each in found if each.failed is not None]
    failed, error = max(errors, default=(None, ""))
    return Health(
        name=found[0].name,
        required=found[0].required,
        state=worst,
        since=min(failing) if failing else max(answered, default=None),
        error=error,
        failed=failed,
        answers=sum(each.answers for each in found),
        silences=sum(each.silences for each in found),
        troubled=states.count(worst),
        processes=len(found),
    )

"""How live sources are asked: within a deadline, once for many clicks, and not at all while they are broken.

    ask ─▶ cache ─▶ already on its way? wait with it ─▶ breaker ─▶ Wire.fetch, in the background up to its own limit
     └── whoever waited until the deadline goes on without: the source counts as silent; a late answer fills the cache

Knows no protocol: a `Wire` (`reputation.dns`, `rpz`, `safe_browsing`, `peers`) turns a reading of a URL into keys and keys into
matches.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from reputation.forms import Reading
from toc.errors import TocError
from toc.verdict import Match

DEADLINE = 0.3
"""Seconds that all live sources together may take (docs/live-sources.md)."""

CACHED = 10_000
FLYING = 256
"""Questions to one source under way at once: a source that hangs must not gather tasks without end."""


class SourceError(TocError):
    """The source did not answer, or not in its protocol. `hard`: it told us to stay away; the breaker opens at once."""

    status = 503
    reason = "source_silent"

    def __init__(self, message: str, *, hard: bool = False) -> None:
        super().__init__(message)
        self.hard = hard


@dataclass(frozen=True, slots=True)
class Found:
    """What a source says about one key, and for how many seconds that may be believed. `unsure`: neither yes nor no."""

    matches: tuple[Match, ...] = ()
    seconds: float = 60.0
    unsure: bool = False


class Wire(Protocol):
    """One protocol to one source."""

    @property
    def name(self) -> str: ...

    @property
    def required(self) -> bool: ...

    def keys(self, reading: Reading) -> tuple[str, ...]:
        """What to ask about one reading of a URL; empty where this source cannot know it. Never raises."""
        ...

    async def fetch(self, keys: tuple[str, ...]) -> Mapping[str, Found]:
        """One answer per key. Raises SourceError; whatever else it raises counts as one, too."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """When a breaker opens, and for how long: ``min(2^(n-1) · base · (1 + random), cap)`` seconds the n-th time in a row.

    failures: in a row that open it
    limit:    seconds after which a question counts as failed (the deadline of a click is shorter)
    """

    failures: int = 5
    base: float = 5.0
    cap: float = 300.0
    limit: float = 2.0


class Breaker:
    """Closed: all may ask. Open: nobody. After its pause one may try; success closes it, failure opens it for longer."""

    def __init__(self, patience: Patience, rng: random.Random) -> None:
        self._patience = patience
        self._rng = rng
        self._failures = 0
        self._openings = 0
        self._until = 0.0

    def is_open(self, now: float) -> bool:
        return now < self._until

    @property
    def tripped(self) -> bool:
        """Open, or half open: nothing has succeeded since it opened."""
        return self._openings > 0

    def may_ask(self, now: float) -> bool:
        """Whether a question may be sent. While half open the one who gets True is the probe; the others wait."""
        if now < self._until:
            return False
        if self._openings:
            self._until = now + self._patience.limit
        return True

    def succeeded(self) -> None:
        self._failures = self._openings = 0
        self._until = 0.0

    def failed(self, now: float, *, hard: bool = False) -> None:
        self._failures += 1
        if not (hard or self._openings or self._failures >= self._patience.failures):
            return
        self._openings += 1
        grown = 2 ** min(self._openings - 1, 32) * self._patience.base
        self._until = now + min(grown * (1 + self._rng.random()), self._patience.cap)
        self._failures = 0


class Cache:
    """Answers by key until they expire, at most `size` of them: the one longest unused goes first."""

    def __init__(self, size: int = CACHED) -> None:
        self._size = size
        self._rows: OrderedDict[str, tuple[float, Found]] = OrderedDict()

    def get(self, key: str, now: float) -> Found | None:
        row = self._rows.get(key)
        if row is None:
            return None
        if row[0] <= now:
            del self._rows[key]
            return None
        self._rows.move_to_end(key)
        return row[1]

    def put(self, key: str, found: Found, now: float) -> None:
        self._rows[key] = (now + found.seconds, found)
        self._rows.move_to_end(key)
        while len(self._rows) > self._size:
            self._rows.popitem(last=False)

    def __len__(self) -> int:
        return len(self._rows)


class LiveSource:
    """One source with everything that keeps it from hurting a click. Belongs to one event loop.

    clock: monotonic seconds      peer: it asks another installation

    How it fares: `answers` and `silences` count questions by whether all was known within their deadline; `answered_at`: when the
    source itself answered last; `failing_since`: the first of its failures since then; `failed_at`, `last_error`: the last one.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        clock: Callable[[], float],
        rng: random.Random,
        patience: Patience | None = None,
        cached: int = CACHED,
        peer: bool = False,
    ) -> None:
        self.peer = peer
        self.name = wire.name
        self.required = wire.required
        self.last_error = ""
        self.answers = self.silences = 0
        self.answered_at: float | None = None
        self.failing_since: float | None = None
        self.failed_at: float | None = None
        self.cache = Cache(cached)
        self._wire = wire
        self._clock = clock
        self._patience = patience or Patience()
        self.breaker = Breaker(self._patience, rng)
        self._flying: dict[str, asyncio.Task[None]] = {}

    async def ask(self, readings: Sequence[Reading], deadline: float = DEADLINE) -> tuple[list[Match], bool]:
        """The matches known within `deadline` seconds, and whether the source answered everything. Never raises."""
        asked = [(key, reading.name) for reading in readings for key in self._wire.keys(reading)]
        missing = [key for key in dict(asked) if self.cache.get(key, self._clock()) is None]
        if missing:
            waiting = self._send(missing)
            if waiting:
                await asyncio.wait(waiting, timeout=deadline)
        now = self._clock()
        answered = True
        matches: list[Match] = []
        for key, name in asked:
            found = self.cache.get(key, now)
            if found is None or found.unsure:
                answered = False
            if found is not None:
                matches += [replace(match, form=name) for match in found.matches] if name else found.matches
        if asked and answered:
            self.answers += 1
        elif asked:
            self.silences += 1
        return matches, answered

    async def close(self) -> None:
        """Drop what is still under way."""
        tasks = set(self._flying.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()

    def _send(self, missing: list[str]) -> set[asyncio.Task[None]]:
        """The questions that answer `missing`: those on their way already, and a new one for the rest if it may go."""
        fresh = tuple(key for key in missing if key not in self._flying)
        if fresh and len(self._flying) < FLYING and self.breaker.may_ask(self._clock()):
            task = asyncio.create_task(self._fetch(fresh), name=f"ask {self.name}")
            self._flying.update(dict.fromkeys(fresh, task))
        return {self._flying[key] for key in missing if key in self._flying}

    async def _fetch(self, keys: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(self._patience.limit):
                answers = await self._wire.fetch(keys)
        except SourceError as error:
            self._failed(str(error), hard=error.hard)
        except TimeoutError:
            self._failed(f"no answer in {self._patience.limit:g} s")
        except Exception as error:  # whatever a stranger's answer does to a library, no click may fail from it
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self.breaker.succeeded()
            now = self.answered_at = self._clock()
            self.failing_since = None
            for key, found in answers.items():
                self.cache.put(key, found, now)
        finally:
            for key in keys:
                del self._flying[key]

    def _failed(self, message: str, *, hard: bool = False) -> None:
        self.last_error = message[:300]
        now = self.failed_at = self._clock()
        if self.failing_since is None:
            self.failing_since = now
        self.breaker.failed(now, hard=hard)


async def ask_all(
    sources: Iterable[LiveSource], readings: Sequence[Reading], *, deadline: float = DEADLINE
) -> tuple[list[Match], tuple[str, ...]]:
    """What all live sources know within `deadline` seconds, and the names of those that did not answer. Never raises."""
    asked = list(sources)
    answers = await asyncio.gather(*(source.ask(readings, deadline) for source in asked))
    matches = [match for found, _ in answers for match in found]
    silent = tuple(source.name for source, (_, answered) in zip(asked, answers, strict=True) if not answered)
    return matches, silent

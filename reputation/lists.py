"""The lists that one process has loaded, and what a hit in each of them means.

Where generations lie: `reputation.generations`. Who refreshes them: `reputation.feeds`.

A look-up takes one reference to the loaded set and finishes on it, whatever is swapped meanwhile; the file of an old
generation stays mapped until its last reader is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Self

from reputation.feeds import Feed
from reputation.forms import Forms, Reading
from reputation.generations import open_current, stamp
from reputation.index import Hit, Index
from toc.errors import ListError
from toc.verdict import Match, MatchKind


@dataclass(frozen=True, slots=True)
class Loaded:
    """One list at one generation. `index` is None as long as none was ever loaded; `stamp` tells a new pointer."""

    feed: Feed
    index: Index | None
    stamp: tuple[int, int] | None


_APPROVING = frozenset({MatchKind.APPROVED, MatchKind.OVERRIDE})


class LookedUp(NamedTuple):
    """silent: lists that never loaded; required: those of them that are; generations: (name, generation) of the others."""

    matches: list[Match]
    silent: tuple[str, ...]
    required: tuple[str, ...]
    generations: tuple[tuple[str, str], ...]


class View(NamedTuple):
    """All lists at one moment. `answering`: feed, index and generation of each that was ever loaded; the rest as `LookedUp`."""

    answering: tuple[tuple[Feed, Index, str], ...]
    silent: tuple[str, ...]
    required: tuple[str, ...]
    generations: tuple[tuple[str, str], ...]

    def matches(self, reading: Reading, now: datetime | None = None) -> list[Match]:
        """Of every list. An entry that expired before `now` is no match."""
        found: list[Match] = []
        for feed, index, generation in self.answering:
            hits = index.find(reading)
            if hits:
                found += [_match(feed, generation, reading, hit) for hit in hits if not _expired(hit, now)]
        return found


class Lists:
    """All lists of one process. Threads and tasks may look up while another one reloads."""

    def __init__(self, directory: Path, loaded: Iterable[Loaded]) -> None:
        self._directory = directory
        self._set(tuple(loaded))
        self.errors: dict[str, str] = {}

    @classmethod
    def open(cls, directory: Path, feeds: Iterable[Feed]) -> Self:
        """Load what lies in `directory`. A list that is missing or damaged counts as silent; nothing is raised."""
        lists = cls(directory, [Loaded(feed, None, None) for feed in feeds])
        lists.reload_if_changed()
        return lists

    def _set(self, loaded: tuple[Loaded, ...]) -> None:
        silent = tuple(item.feed.name for item in loaded if item.index is None)
        required = tuple(item.feed.name for item in loaded if item.index is None and item.feed.required)
        answering = tuple((item.feed, item.index, item.index.generation) for item in loaded if item.index)
        self._loaded = loaded
        generations = tuple((feed.name, generation) for feed, _, generation in answering)
        self.view = View(answering, silent, required, generations)  # one reference: readers take it once

    @property
    def loaded(self) -> tuple[Loaded, ...]:
        return self._loaded

    def reload_if_changed(self) -> tuple[str, ...]:
        """Look at each list's pointer (one stat) and map new generations. Returns the names that changed."""
        changed = []
        fresh = []
        for item in self._loaded:
            now = stamp(self._directory / item.feed.name)
            if now == item.stamp or now is None:
                fresh.append(item)
                continue
            fresh.append(Loaded(item.feed, self._load(item), now))
            changed.append(item.feed.name)
        if changed:
            self._set(tuple(fresh))
        return tuple(changed)

    def _load(self, item: Loaded) -> Index | None:
        """The new generation, touched; the old one where the new one cannot be read."""
        name = item.feed.name
        try:
            index = open_current(self._directory / name)
        except ListError as error:
            self.errors[name] = str(error)
            return item.index
        index.touch()
        self.errors.pop(name, None)
        return index

    def look_up(self, forms: Forms, now: datetime | None = None) -> LookedUp:
        """Matches of every list under every reading."""
        view = self.view
        matches = [match for reading in forms.readings for match in view.matches(reading, now)]
        return LookedUp(matches, view.silent, view.required, view.generations)


def _match(feed: Feed, generation: str, reading: Reading, hit: Hit) -> Match:
    return Match(
        source=feed.name,
        generation=generation,
        entry=hit.entry,
        threat=hit.threat,
        level=feed.level,
        form=reading.name or hit.form,
        kind=feed.kind,
        line=hit.line,
    )


def counted(readings: Sequence[Reading], each: Sequence[list[Match]]) -> list[Match]:
    """All matches of a URL of several readings, `each` those of one. Approvals are recorded only, unless they count.

    They do where each place is approved that a click may end at: else whoever builds a page that looks like a wrapper
    would have it approved by what it claims to wrap.
    """
    kinds = [{match.kind for match in found} for reading, found in zip(readings, each, strict=True) if reading.decides]
    matches = [match for found in each for match in found]
    if not all(_APPROVING & found for found in kinds):
        return [recorded(match) for match in matches]
    if not all(MatchKind.OVERRIDE in found for found in kinds):  # then none of them beats a threat
        return [replace(match, kind=MatchKind.APPROVED) if match.kind in _APPROVING else match for match in matches]
    return matches


def recorded(match: Match) -> Match:
    """`match`, or where it approves, that it did, without effect."""
    return replace(match, kind=MatchKind.LOGGED) if match.kind in _APPROVING else match


def _expired(hit: Hit, now: datetime | None) -> bool:
    return now is not None and hit.expires is not None and hit.expires <= now.timestamp()

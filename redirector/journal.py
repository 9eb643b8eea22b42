"""The recorder's journal: where a click becomes durable first. Two spools in turns; knows no click and no database.

An append to a preallocated file and one fdatasync take a fraction of what a commit into a table with seven indexes does,
and nothing that the database does can hold them up. While one file is written the other is shipped; each turn takes a
higher generation, so that whoever ships knows which is the older one.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from redirector.spool import HEADER, Spool, SpoolFull, generation_of, read

NAMES = ("clicks-recorder-a.spool", "clicks-recorder-b.spool")

TURN = 4 << 20
"""Bytes after which the other file takes over, if it is empty: about 8,000 clicks, a second of the highest load."""

_MARK = struct.Struct(">QQ")
SETTLE_SECONDS = 0.5
_LOOK_SECONDS = 0.003


class Journal:
    """The writing side. One thread of one process."""

    def __init__(self, folder: Path, size: int) -> None:
        self._spools = [Spool.open(folder / name, size) for name in NAMES]
        self._current = max(self._spools, key=Spool.generation)

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep `payloads`, durably. Raises SpoolFull where nothing was shipped for long, OSError."""
        if self._current.used > TURN:
            self._turn()
        try:
            self._current.append(payloads)
        except SpoolFull:
            if not self._turn():
                raise
            self._current.append(payloads)

    @property
    def share(self) -> float:
        """How much of the file is used, from 0 to 1, while the other one may hold as much that was not shipped."""
        return self._current.used / self._current.size

    def _turn(self) -> bool:
        """To the other file. False where it still holds what was not shipped."""
        first, second = self._spools
        other = second if self._current is first else first
        if not other.begin(max(first.generation(), second.generation()) + 1):
            return False
        self._current = other
        return True

    def close(self) -> None:
        for spool in self._spools:
            spool.close()


class Marks:
    """How far each file was shipped, in a small file beside it: for readers that wait, and for nothing else.

    Not fsynced: whoever ships starts anew after a crash, and a mark that is lost or old makes a reader wait in vain once.
    """

    def __init__(self) -> None:
        self._handles: dict[Path, int] = {}

    def write(self, path: Path, generation: int, place: int) -> None:
        if path.name not in NAMES:
            return
        if path not in self._handles:
            self._handles[path] = os.open(_mark_of(path), os.O_WRONLY | os.O_CREAT, 0o600)
        os.pwrite(self._handles[path], _MARK.pack(generation, place), 0)


def is_shipped(folder: Path) -> bool:
    """Whether everything that was ever appended is in the database."""
    return all(_is_shipped(folder / name) for name in NAMES)


def _is_shipped(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return True
    try:
        generation = generation_of(handle)
        if generation is None:
            return True
        return next(read(handle, generation, shipped_up_to(path, generation)), None) is None
    finally:
        os.close(handle)


def shipped_up_to(path: Path, generation: int) -> int:
    """The place in the file behind what is known to be in the database."""
    try:
        marked, place = _MARK.unpack(_mark_of(path).read_bytes())
    except (OSError, struct.error):
        return HEADER
    return place if marked == generation else HEADER


def _mark_of(path: Path) -> Path:
    return path.with_suffix(".shipped")


async def settled(folder: Path) -> None:
    """Wait until clicks that were answered before this call can be read in the database; a moment, not for ever."""
    loop = asyncio.get_running_loop()
    end = loop.time() + SETTLE_SECONDS
    while not is_shipped(folder) and loop.time() < end:  # noqa: ASYNC110 - another process does it
        await asyncio.sleep(_LOOK_SECONDS)

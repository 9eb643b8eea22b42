"""Moving spooled clicks into the database: a part at a time, in order, each once. Knows spool files and a sink.

A part is small, so that fresh clicks never wait long behind old ones. How far a file was shipped is remembered in memory
only: after a crash its records are offered again, and their ids are known already.
"""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

import msgspec
import structlog

from redirector.click_sink import Sink, commit
from redirector.spool import HEADER, empty, generation_of, read

log = structlog.get_logger("redirector.shipping")

PART = 500
"""Records of one commit: about 10 ms."""

PATTERN = "clicks-*.spool"


class Shipper:
    """Ships every spool in a folder, those of workers that are no more too."""

    def __init__(self, folder: Path, sink: Sink, refused: Path) -> None:
        self._folder = folder
        self._sink = sink
        self._refused = refused
        self._places: dict[tuple[int, int], int] = {}  # (inode, generation) → shipped up to here
        self._decode = msgspec.msgpack.Decoder(tuple[object, ...]).decode

    def step(self) -> bool:
        """Ship one part. False where nothing waits. Raises Unavailable, OSError."""
        return any(self._ship(path) for path in sorted(self._folder.glob(PATTERN)))

    def _ship(self, path: Path) -> bool:
        handle = os.open(path, os.O_RDWR)
        try:
            generation = generation_of(handle)
            if generation is None:
                return False
            key = (os.fstat(handle).st_ino, generation)
            place = self._places.get(key, HEADER)
            part = list(islice(read(handle, generation, place), PART))
            if part:
                commit(self._sink, [self._decode(payload) for payload, _ in part], self._refused)
                self._places[key] = part[-1][1]
                return True
            if place == HEADER:
                return False
            if empty(handle, generation, place):
                del self._places[key]
                log.info("spool_shipped", spool=path.name, bytes=place - HEADER)
            return True
        finally:
            os.close(handle)

"""The spool: a preallocated file that takes records when the database does not. Knows bytes and fsync; knows no click.

    file   = header, frames, then zeros or what is left of records already shipped
    header = "TOCSPL1\\n", generation u64         frame = length u32, CRC-32 u32 of generation and payload, payload

Its space is taken at the start, so that a full disk cannot stop it. `empty` raises the generation: whatever frames lie in
the file are void from then on, as their check holds the generation. A torn frame (power lost in mid-write) fails its check
and ends the reading; everything before it was answered for and is there.

Several processes may have one file open, as a worker that ends and its successor: each looks, under the file's lock, how
far the others have come. Within a process a `Spool` belongs to one thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

_MAGIC = b"TOCSPL1\n"
_GENERATION = struct.Struct(">Q")
_FRAME = struct.Struct(">II")
_END = bytes(_FRAME.size)
HEADER = len(_MAGIC) + _GENERATION.size
MAX_PAYLOAD = 1 << 20
"""Bytes of one payload: an URL has at most 8 KiB, a click with its evidence far less than this."""


_WRITTEN = 6 << 20
"""Bytes at the head of a new file that are written with zeros: to what was only allocated, the first write changes the file
system's own records too (an extent becomes a written one), and its fsync waits for those. The journal turns before."""


class SpoolFull(Exception):
    """No room is left. What was to be kept is not kept."""


class Spool:
    """One writer's hold on a file. `append` returns when the payloads are durable."""

    def __init__(self, path: Path, handle: int, size: int) -> None:
        self._path = path
        self._handle = handle
        self.size = size
        self._generation = -1
        self._end = HEADER

    @classmethod
    def open(cls, path: Path, size: int) -> Spool:
        """Open or make the file and take its space. Raises OSError where the disk has none left."""
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_aside_foreign(path)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < size:
                os.posix_fallocate(handle, 0, size)
            with locked(handle):
                if generation_of(handle) is None:
                    _write(handle, bytes(min(size, _WRITTEN)), 0)
                    os.pwrite(handle, _MAGIC + _GENERATION.pack(1) + _END, 0)
            os.fsync(handle)
            _sync_folder(path.parent)
        except OSError:
            os.close(handle)
            raise
        return cls(path, handle, max(size, os.fstat(handle).st_size))

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep `payloads`, durably. Raises SpoolFull, OSError."""
        with locked(self._handle):
            self._catch_up()
            seed = _seed(self._generation)
            data = b"".join(_FRAME.pack(len(each), zlib.crc32(each, seed)) + each for each in payloads)
            if max(map(len, payloads), default=0) > MAX_PAYLOAD:
                raise SpoolFull(f"a record has more than {MAX_PAYLOAD} bytes")
            if self._end + len(data) + _FRAME.size > self.size:
                raise SpoolFull(f"{self._path.name} is full")
            _write(self._handle, data + _END, self._end)
            os.fdatasync(self._handle)
            self._end += len(data)

    def _catch_up(self) -> None:
        """To the end of what others wrote or shipped meanwhile."""
        generation = self.generation()
        if generation != self._generation:
            self._generation, self._end = generation, HEADER
        for _, place in read(self._handle, generation, self._end):
            self._end = place

    @property
    def used(self) -> int:
        """Bytes, as of the last `append`."""
        return self._end

    def generation(self) -> int:
        """Raises OSError where the file is no spool any more."""
        found = generation_of(self._handle)
        if found is None:
            raise OSError(f"{self._path.name} is no spool")
        return found

    def begin(self, generation: int) -> bool:
        """Go on under a higher generation, where nothing lies in the file. False where something does."""
        with locked(self._handle):
            if next(read(self._handle, self.generation()), None) is not None:
                return False
            _begin(self._handle, generation)
        return True

    def close(self) -> None:
        os.close(self._handle)


def read(handle: int, generation: int, place: int = HEADER) -> Iterator[tuple[bytes, int]]:
    """The payloads from `place` on, oldest first, each with the place behind it; up to the end or a torn frame."""
    seed = _seed(generation)
    while True:
        head = os.pread(handle, _FRAME.size, place)
        if len(head) < _FRAME.size:
            return
        length, check = _FRAME.unpack(head)
        if not 0 < length <= MAX_PAYLOAD:
            return
        payload = os.pread(handle, length, place + _FRAME.size)
        if len(payload) < length or zlib.crc32(payload, seed) != check:
            return
        place += _FRAME.size + length
        yield payload, place


def empty(handle: int, generation: int, place: int) -> bool:
    """Forget every record, where none lies behind `place`. False where one does: a writer was quicker."""
    with locked(handle):
        if generation_of(handle) != generation or next(read(handle, generation, place), None) is not None:
            return False
        _begin(handle, generation + 1)
        return True


def _begin(handle: int, generation: int) -> None:
    os.pwrite(handle, _GENERATION.pack(generation) + _END, len(_MAGIC))
    os.fdatasync(handle)


def generation_of(handle: int) -> int | None:
    """None for a file that is no spool yet."""
    head = os.pread(handle, HEADER, 0)
    if len(head) < HEADER or not head.startswith(_MAGIC):
        return None
    return int(_GENERATION.unpack_from(head, len(_MAGIC))[0])


@contextlib.contextmanager
def locked(handle: int) -> Iterator[None]:
    """The file is ours alone, among processes (flock(2))."""
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _set_aside_foreign(path: Path) -> None:
    """A file with another head (another version's, or damaged) is kept beside, not written over."""
    with contextlib.suppress(FileNotFoundError):
        with path.open("rb") as file:
            head = file.read(HEADER)
        if any(head) and not head.startswith(_MAGIC):
            path.rename(path.with_name(f"broken-{path.name}"))


def _seed(generation: int) -> int:
    return zlib.crc32(_GENERATION.pack(generation))


def _write(handle: int, data: bytes, place: int) -> None:
    """All of it: pwrite(2) may take less."""
    done = 0
    while done < len(data):
        done += os.pwrite(handle, data[done:], place + done)


def _sync_folder(path: Path) -> None:
    """A new file's name must outlive a power cut too."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

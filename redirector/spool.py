"""The spool: a preallocated file that takes records when the database does not. Knows bytes and fsync; knows no click.

    file  = frames, then zeros          frame = length u32, CRC-32 of the payload u32, payload

Its space is taken at the start, so that a full disk cannot stop it. A torn frame at the end (power lost in mid-write) fails
its check and ends the reading; everything before it was answered for and is there.
"""

from __future__ import annotations

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

_FRAME = struct.Struct(">II")
_END = bytes(_FRAME.size)  # ends the reading even where older records lie behind
MAX_PAYLOAD = 1 << 20


class SpoolFull(Exception):
    """No room is left. What was to be kept is not kept."""


class Spool:
    """One writer's file. `append` returns when the payloads are durable."""

    def __init__(self, path: Path, handle: int, size: int, end: int) -> None:
        self._path = path
        self._handle = handle
        self._size = size
        self._end = end

    @classmethod
    def open(cls, path: Path, size: int) -> Spool:
        """Open or make the file and take its space. Raises OSError where the disk has none left."""
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(handle).st_size < size:
            os.posix_fallocate(handle, 0, size)
            os.fsync(handle)
        end = _end_of(handle)
        return cls(path, handle, max(size, os.fstat(handle).st_size), end)

    @property
    def used(self) -> int:
        """Bytes of records that wait."""
        return self._end

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep `payloads`, durably. Raises SpoolFull, OSError."""
        data = b"".join(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            if _is_empty(self._handle):
                self._end = 0  # it was shipped meanwhile
            if self._end + len(data) + _FRAME.size > self._size:
                raise SpoolFull(f"{self._path.name} is full")
            os.pwrite(self._handle, data + _END, self._end)
            os.fdatasync(self._handle)
            self._end += len(data)
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._handle)


def read(handle: int) -> Iterator[bytes]:
    """The payloads of an open spool file, oldest first, up to its end or a torn frame."""
    place = 0
    while True:
        head = os.pread(handle, _FRAME.size, place)
        if len(head) < _FRAME.size:
            return
        length, check = _FRAME.unpack(head)
        if not 0 < length <= MAX_PAYLOAD:
            return
        payload = os.pread(handle, length, place + _FRAME.size)
        if len(payload) < length or zlib.crc32(payload) != check:
            return
        yield payload
        place += _FRAME.size + length


def empty(handle: int) -> None:
    """Forget every record: the first frame's head becomes zero. Called when all of them are in the database."""
    os.pwrite(handle, bytes(_FRAME.size), 0)
    os.fdatasync(handle)


def _is_empty(handle: int) -> bool:
    return os.pread(handle, 4, 0) in (b"", bytes(4))


def _end_of(handle: int) -> int:
    return sum(_FRAME.size + len(payload) for payload in read(handle))

"""Writes the index of one list: aside, sorted in bounded memory, checked, synced, renamed.

Knows the layout of `reputation.index` and how to sort more than fits in memory: each hash goes to one of 256 partitions
by its top byte, each partition is sorted alone and appended. 50 million entries need what one partition needs.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from reputation.index import (
    BLOCK,
    HEADER,
    KIND_CODES,
    MAGIC,
    MARKER,
    THREAT_CODES,
    VERSION,
    Entry,
    Header,
    Index,
    body_checksum,
    entry_key,
    hash_of,
)
from toc.errors import ListError

MAX_ENTRIES = MARKER - 1
MAX_ENTRY = 8192
"""Characters of one entry: as long as a URL that we seal (`toc.url.MAX_URL`)."""

_PER_BUCKET = 8  # hashes a bucket: half a byte of directory an entry, three comparisons a look-up
_FLUSH = 1 << 15
_RECORD = 12  # eight bytes of hash, big-endian so that bytes sort as numbers, and four of ordinal


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What became of the entries. Bytes of the file as written."""

    generation: str
    entries: int
    rejected: int
    duplicates: int
    size: int


def build(
    entries: Iterable[Entry],
    target: Path,
    *,
    generation: str,
    seed: bytes,
    built_at: datetime,
    max_entries: int = MAX_ENTRIES,
    progress: Callable[[int], None] | None = None,
) -> BuildReport:
    """Write the index of `entries` to `target`, which appears whole or not at all.

    generation: id, up to 16 ASCII characters     seed: 16 bytes, the same for all lists of an installation
    progress:   called with the number of entries read so far, each 65,536

    Raises ListError where there are more than `max_entries`, and lets what `entries` raises pass; OSError as it comes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as aside:
        partitions = _Partitions(Path(aside))
        part = Path(aside) / "index"
        with part.open("w+b") as file:
            file.write(bytes(HEADER))
            writer = _Writer(file, partitions, seed)
            for entry in entries:
                writer.add(entry)
                if writer.ordinal > max_entries:
                    raise ListError(f"more than {max_entries:,} entries", why="too_many_entries")
                if progress and not writer.ordinal & 0xFFFF:
                    progress(writer.ordinal)
            writer.flush()
            header = _finish(file, writer, partitions, (generation, seed, built_at))
        _verify(part)
        os.replace(part, target)
    _sync_directory(target.parent)
    return BuildReport(generation, header.entries, header.rejected, header.duplicates, sum(header.sizes) + HEADER)


class _Partitions:
    """256 files of fixed-width records, split by the top byte of the hash."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"{number:02x}" for number in range(256)]
        self._pending = [bytearray() for _ in range(256)]

    def add(self, key: int, ordinal: int) -> None:
        pending = self._pending[key >> 56]
        pending += key.to_bytes(8, "big") + ordinal.to_bytes(4, "big")
        if len(pending) >= _FLUSH:
            self._spill(key >> 56)

    def _spill(self, number: int) -> None:
        with self._paths[number].open("ab") as file:
            file.write(self._pending[number])
        self._pending[number].clear()

    def sorted(self, number: int) -> list[bytes]:
        """The records of one partition, in order; the partition is gone afterwards."""
        path, raw = self._paths[number], bytes(self._pending[number])
        if path.exists():
            raw = path.read_bytes() + raw
            path.unlink()
        self._pending[number] = bytearray()
        return sorted(raw[at : at + _RECORD] for at in range(0, len(raw), _RECORD))


class _Writer:
    """Streams the record text, and hands the hashes to the partitions."""

    def __init__(self, file: BinaryIO, partitions: _Partitions, seed: bytes) -> None:
        self._file, self._partitions, self._seed = file, partitions, seed
        self._buffer: list[str] = []
        self.blocks = array("Q")
        self.size = 0
        self.ordinal = 0
        self.rejected = 0
        self._line = 0
        self._last_host = ""

    def add(self, entry: Entry) -> None:
        kind, value, line, threat, expires = entry
        key = entry_key(kind, value) if kind in KIND_CODES and len(value) <= MAX_ENTRY else None
        if key is None or "\t" in value or "\n" in value:
            self.rejected += 1
            return
        if not self.ordinal % BLOCK:
            self._begin_block()
        end = "\n" if expires is None else f"\t{expires}\n"
        self._buffer.append(f"{KIND_CODES[kind]}{THREAT_CODES[threat]}{line - self._line}\t{value}{end}")
        self._line = line
        self._partitions.add(hash_of(key, self._seed), self.ordinal)
        if kind == "url":
            self._mark(key.partition("/")[0])
        self.ordinal += 1

    def _mark(self, host: str) -> None:
        if host != self._last_host:  # sorted lists repeat a host in a run; other repetitions fall when sorted
            self._last_host = host
            self._partitions.add(hash_of(host, self._seed), self.ordinal | MARKER)

    def _begin_block(self) -> None:
        self.flush()
        self.blocks.append(self.size)
        self._line = 0

    def flush(self) -> None:
        raw = "".join(self._buffer).encode("utf-8", "surrogatepass")
        self._file.write(raw)
        self.size += len(raw)
        self._buffer.clear()


def _finish(file: BinaryIO, writer: _Writer, partitions: _Partitions, about: tuple[str, bytes, datetime]) -> Header:
    """Append blocks, hashes, ordinals and directory; then the header, with the checksum of what was written."""
    generation, seed, built_at = about
    bits = max((writer.ordinal // _PER_BUCKET).bit_length(), 1)
    hashes, ordinals = array("Q"), array("I")
    directory = array("I", bytes(4 * ((1 << bits) + 1)))
    start_blocks = _align(file)
    file.write(writer.blocks.tobytes())
    start_hashes = _align(file)
    keys = entries = previous = 0
    with tempfile.TemporaryFile(dir=Path(file.name).parent) as aside:
        for number in range(256):
            for record in _unique(partitions.sorted(number)):
                key, ordinal = int.from_bytes(record[:8], "big"), int.from_bytes(record[8:], "big")
                hashes.append(key)
                ordinals.append(ordinal)
                entries += not ordinal & MARKER
                bucket = key >> (64 - bits)
                if bucket != previous:
                    directory[previous + 1 : bucket + 1] = array("I", [keys]) * (bucket - previous)
                    previous = bucket
                keys += 1
            file.write(hashes.tobytes())
            aside.write(ordinals.tobytes())
            del hashes[:], ordinals[:]
        directory[previous + 1 :] = array("I", [keys]) * (len(directory) - previous - 1)
        start_directory = file.tell()
        file.write(directory.tobytes())
        start_ordinals = file.tell()
        aside.seek(0)
        while chunk := aside.read(1 << 22):
            file.write(chunk)
    header = Header(
        magic=MAGIC,
        version=VERSION,
        bits=bits,
        entries=entries,
        keys=keys,
        built_at=built_at.timestamp(),
        rejected=min(writer.rejected, 0xFFFFFFFF),
        duplicates=writer.ordinal - entries,
        seed=seed,
        generation=generation.encode("ascii"),
        checksum=b"",
        offsets=(HEADER, start_blocks, start_directory, start_hashes, start_ordinals),
        sizes=(writer.size, 8 * len(writer.blocks), 4 * len(directory), 8 * keys, 4 * keys),
    )
    return _seal(file, header)


def _seal(file: BinaryIO, header: Header) -> Header:
    file.flush()
    header = header._replace(checksum=body_checksum(file))
    file.seek(0)
    file.write(header.pack())
    file.flush()
    os.fsync(file.fileno())
    return header


def _unique(records: list[bytes]) -> Iterable[bytes]:
    """Of each hash the first entry and the first marker.

    Two different entries of one hash would lose the second; with a secret salt that is one chance in 14,000 for a whole
    list of 50 million (n² / 2⁶⁵), and it bounds the run that a look-up may have to walk.
    """
    last = (b"", False)
    for record in records:
        this = (record[:8], record[8] >= 0x80)
        if this != last:
            last = this
            yield record


def _align(file: BinaryIO) -> int:
    file.write(bytes(-file.tell() % 8))
    return file.tell()


def _verify(path: Path) -> None:
    """What was written is read again, as the workers will read it."""
    Index.open(path).verify()


def _sync_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

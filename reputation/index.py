"""The index of one list: an immutable file that every worker maps, and that answers in a microsecond.

    find(reading) ─▶ 64-bit hash of each host suffix ─▶ bucket directory ─▶ bisect ─▶ record text ─▶ compared ─▶ Hit

Knows the file and how to read it. Who writes it: `reputation.index_build`; which list it is and what a hit means:
`reputation.lists`.

A host entry is found by the hash of its host. A URL entry is found in two steps, so that the common case (nothing
known about that host) costs one probe a label and not one for each of 30 expressions: a *marker* under the hash of its
host says that URLs of this host are listed, then the expressions are tried.

The file, little-endian, after a header of 256 bytes:

    text       a record a line, in the list's order: kind, threat, line (counted from the record before), TAB, the
               entry as its source spells it, [TAB, expiry in epoch seconds], LF
    blocks     u64 a block of 16 records: where in `text` it begins
    directory  u32 a bucket, one more at the end: where in `hashes` the bucket begins
    hashes     u64, sorted
    ordinals   u32 a hash: which record; the top bit marks a marker
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from reputation.addresses import LISTED, enclosing, normal_network, plain_address, prefix_of
from reputation.forms import Hashed, Reading, host_suffixes, is_address, plain_host
from toc.errors import BadUrl, ListError
from toc.url import ascii_host, parse
from toc.verdict import ThreatType

MAGIC = b"TOCINDEX"
VERSION = 1
HEADER = 256
BLOCK = 16
MARKER = 1 << 31
_PIECE = 1 << 20

THREAT_CODES: dict[ThreatType, str] = {
    ThreatType.PHISHING: "p",
    ThreatType.MALWARE: "m",
    ThreatType.C2: "c",
    ThreatType.SCAM: "s",
    ThreatType.SPAM: "b",
    ThreatType.UNWANTED: "u",
    ThreatType.ABUSED: "a",
    ThreatType.SUSPICIOUS_OBJECT: "o",
    ThreatType.OTHER: "x",
}
"""One letter a threat type in the file; the letters are part of the format and never change."""
_THREATS = {code: threat for threat, code in THREAT_CODES.items()}
KIND_CODES = {"host": "h", "url": "u", "ip": "i"}
_KINDS = {code: kind for kind, code in KIND_CODES.items()}

_LAYOUT = struct.Struct("<8sIIQQdII16s16s16s5Q5Q")
_CHECK = struct.Struct("<16s")


class Header(NamedTuple):
    """What stands at the head of the file. Offsets and sizes in bytes, in the order of the module's docstring."""

    magic: bytes
    version: int
    bits: int
    entries: int
    keys: int
    built_at: float
    rejected: int
    duplicates: int
    seed: bytes
    generation: bytes
    checksum: bytes
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def pack(self) -> bytes:
        body = _LAYOUT.pack(*self[:11], *self.offsets, *self.sizes)
        body = body.ljust(HEADER - _CHECK.size, b"\0")
        return body + _digest(body)

    @classmethod
    def unpack(cls, raw: bytes, path: Path) -> Header:
        """Raises ListError where `raw` is no header of ours, or a broken one."""
        if len(raw) < HEADER or not raw.startswith(MAGIC):
            raise ListError(f"{path.name} is not a list index", why="index_magic")
        body, check = raw[: -_CHECK.size], raw[-_CHECK.size :]
        if _digest(body) != check:
            raise ListError(f"the head of {path.name} is damaged", why="index_checksum")
        values = _LAYOUT.unpack_from(body)
        header = cls._make((*values[:11], values[11:16], values[16:]))
        if header.version != VERSION:
            raise ListError(
                f"{path.name} has version {header.version}; this program reads {VERSION}", why="index_version"
            )
        return header


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


class Hit(NamedTuple):
    """One record of a list that matched.

    entry:   as its source spells it        line:    in the source, from 1
    kind:    ``host``, ``url`` or ``ip``      threat:  what the source says it is
    form:    ``host``, ``ip``, ``url`` (the whole URL) or ``expression`` (a part of it)
    expires: epoch seconds, None for never
    """

    entry: str
    line: int
    kind: str
    threat: ThreatType
    form: str
    expires: int | None = None


class Entry(NamedTuple):
    """One line of a list as a parser found it.

    kind: ``host``, ``url``, ``ip`` (an address or a network such as ``192.0.2.0/24``), ``bad`` for an unreadable line
    """

    kind: str
    value: str
    line: int
    threat: ThreatType = ThreatType.OTHER
    expires: int | None = None


def hash_of(key: str, seed: bytes) -> int:
    """64 bits of salted BLAKE2b: whoever may write a list entry cannot aim at a chosen hash."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8, salt=seed).digest(), "little")


def _hashed(suffixes: tuple[str, ...], seed: bytes) -> Hashed:
    """The hash of each of `suffixes` (`reputation.forms.host_suffixes`); of an address also of its networks."""
    if len(suffixes) == 1 and is_address(suffixes[0]):
        suffixes = (*suffixes, *map(_network_key, enclosing(suffixes[0])))
    salted, number = _salted(seed), int.from_bytes
    hashes = []
    for key in suffixes:
        state = salted.copy()
        state.update(key.encode())
        hashes.append(number(state.digest(), "little"))
    return Hashed(seed, hashes, suffixes)


@lru_cache(maxsize=16)
def _salted(seed: bytes) -> blake2b:
    """`hash_of` before its key: a copy of it costs less than the salt once more."""
    return blake2b(digest_size=8, salt=seed)


def entry_key(kind: str, value: str) -> str | None:
    """What an entry is found by: an ASCII host, a network, or host + path + query in Safe Browsing's form; None for none."""
    if kind == "url":
        return _url_key(value)
    if kind == "ip" and "/" in value:
        value = normal_network(value) or ""  # an address where it holds only one
        if "/" in value:
            return _network_key(value) if prefix_of(value) in LISTED else None
    host = value.lower().removeprefix("*.").rstrip(".")
    if not host.isascii() or not host.replace("-", "a").replace("_", "a").replace(".", "a").isalnum():
        return _odd_host(host)
    if host[-1:].isdigit():
        return _odd_host(host)  # may be an address in any spelling
    return plain_host(host) or None


def _network_key(network: str) -> str:
    return "/" + network  # http://192.0.2.0/24 on a list means that page, not the network


def _odd_host(host: str) -> str | None:
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    found = ascii_host(host) if host else None
    return plain_address(plain_host(found)) if found else None


def _url_key(value: str) -> str | None:
    """The most exact expression of the URL that a browser would visit."""
    try:
        reading = Reading(parse(value if "://" in value else f"http://{value}"))
    except BadUrl:
        return None
    return reading.expressions[0] if reading.host else None


class Index:
    """One mapped list. Immutable: a new generation is a new object. `close` is for tests; the mapping dies with it."""

    __slots__ = ("_blocks", "_directory", "_hashes", "_map", "_ordinals", "_seed", "_shift", "_text", "header", "path")

    def __init__(self, path: Path, mapped: mmap.mmap, header: Header) -> None:
        view = memoryview(mapped)
        parts = [view[start : start + size] for start, size in zip(header.offsets, header.sizes, strict=True)]
        self.path = path
        self.header = header
        self._map = mapped
        self._text = parts[0]
        self._blocks = parts[1].cast("Q")
        self._directory = parts[2].cast("I")
        self._hashes = parts[3].cast("Q")
        self._ordinals = parts[4].cast("I")
        self._seed = header.seed
        self._shift = 64 - header.bits

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map `path`. Raises ListError where it is missing, cut or damaged at the head, OSError never."""
        try:
            with path.open("rb") as file:
                header = Header.unpack(file.read(HEADER), path)
                size = file.seek(0, 2)
                if size != header.offsets[4] + header.sizes[4]:
                    raise ListError(f"{path.name} is cut", why="index_cut")
                return cls(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), header)
        except OSError as error:
            raise ListError(f"{path.name} cannot be read: {error.strerror}", why="index_unreadable") from None

    @property
    def generation(self) -> str:
        return self.header.generation.rstrip(b"\0").decode("ascii")

    @property
    def entries(self) -> int:
        return self.header.entries

    @property
    def built_at(self) -> datetime:
        return datetime.fromtimestamp(self.header.built_at, UTC)

    def touch(self) -> int:
        """Fault in every page of directory and hashes, so that no click pays for it. Returns the pages touched.

        In pieces, each read from the file before (which lets other threads run) and touched after: nobody waits long.
        """
        start, end = self.header.offsets[3], self.header.offsets[2] + self.header.sizes[2]  # they lie side by side
        whole = memoryview(self._map)
        pages = 0
        for piece in range(start, end, _PIECE):
            self._read(piece)
            pages += len(bytes(whole[piece : min(piece + _PIECE, end) : mmap.PAGESIZE]))
        return pages

    def _read(self, start: int) -> None:
        """One piece from the disk into the system's memory; of a file that was swept meanwhile nothing."""
        with contextlib.suppress(OSError), self.path.open("rb", buffering=0) as file:
            file.seek(start)
            file.read(_PIECE)

    def verify(self) -> None:
        """Read the whole file against its checksum. Raises ListError. Seconds for large lists: for build and doctor."""
        try:
            with self.path.open("rb") as file:
                checksum = body_checksum(file)
        except OSError as error:
            raise ListError(f"{self.path.name} cannot be read: {error.strerror}", why="index_unreadable") from None
        if checksum != self.header.checksum:
            raise ListError(f"{self.path.name} is damaged", why="index_checksum")

    def find(self, reading: Reading) -> list[Hit]:
        """Every entry that covers `reading`: hosts by label, URLs by expression. Texts are compared: no false hit."""
        hits: list[Hit] = []
        hashes, directory, shift = self._hashes, self._directory, self._shift
        hashed = reading.hashed
        if hashed is None or hashed.seed != self._seed:
            hashed = reading.hashed = _hashed(reading.suffixes, self._seed)
        for key, host in zip(hashed.hashes, hashed.keys, strict=False):
            bucket = key >> shift
            high = directory[bucket + 1]
            at = bisect_left(hashes, key, directory[bucket], high)
            while at < high and hashes[at] == key:
                ordinal = self._ordinals[at]
                if ordinal & MARKER:
                    hits += self._urls(reading, host)
                elif hit := self._confirm(ordinal, host, "host"):
                    hits.append(hit)
                at += 1
        return hits

    def knows(self, host: str) -> bool:
        """Whether any entry, for a host or a URL, stands under `host` or a parent of it. By hash alone: rarely too often."""
        for key in _hashed(host_suffixes(host), self._seed).hashes:
            bucket = key >> self._shift
            low, high = self._directory[bucket], self._directory[bucket + 1]
            at = bisect_left(self._hashes, key, low, high)
            if at < high and self._hashes[at] == key:
                return True
        return False

    def beyond(self, old: Self) -> Iterator[str]:
        """The host of each entry that `old` does not have. Networks have none."""
        theirs, their_ordinals = (old._hashes, old._ordinals) if old._seed == self._seed else ((), ())
        at, end = 0, len(theirs)
        for place, key in enumerate(self._hashes):
            while at < end and theirs[at] < key:
                at += 1
            ordinal = self._ordinals[place]
            if ordinal & MARKER:
                continue
            same = at
            while same < end and theirs[same] == key and their_ordinals[same] & MARKER:
                same += 1
            if same == end or theirs[same] != key:
                record, _ = self._record(ordinal)
                kind = _KINDS[record[0]]
                if kind != "ip":
                    yield (entry_key(kind, record.partition("\t")[2].partition("\t")[0]) or "").partition("/")[0]

    def _urls(self, reading: Reading, host: str) -> list[Hit]:
        """The URL entries among the expressions of `reading` on `host`."""
        hits = []
        for expression in reading.under(host):
            form = "url" if expression == reading.expressions[0] else "expression"
            for ordinal in self._ordinals_of(hash_of(expression, self._seed)):
                if hit := self._confirm(ordinal, expression, form):
                    hits.append(hit)
        return hits

    def _ordinals_of(self, key: int) -> list[int]:
        bucket = key >> self._shift
        low, high = self._directory[bucket], self._directory[bucket + 1]
        at = bisect_left(self._hashes, key, low, high)
        found = []
        while at < high and self._hashes[at] == key:
            if not self._ordinals[at] & MARKER:
                found.append(self._ordinals[at])
            at += 1
        return found

    def _confirm(self, ordinal: int, key: str, form: str) -> Hit | None:
        """The record, if its text really has this key."""
        record, line = self._record(ordinal)
        kind = _KINDS[record[0]]
        value, _, expires = record.partition("\t")[2].partition("\t")
        if entry_key(kind, value) != key:
            return None
        return Hit(
            entry=value,
            line=line,
            kind=kind,
            threat=_THREATS.get(record[1], ThreatType.OTHER),
            form="ip" if kind == "ip" else form,
            expires=int(expires) if expires else None,
        )

    def _record(self, ordinal: int) -> tuple[str, int]:
        """The text of one record and its line in the source: a block is read from its beginning."""
        block, place = divmod(ordinal, BLOCK)
        start = self._blocks[block]
        end = self._blocks[block + 1] if block + 1 < len(self._blocks) else len(self._text)
        records = bytes(self._text[start:end]).split(b"\n", place + 1)[: place + 1]
        line = sum([int(record[2 : record.index(b"\t")]) for record in records])
        return records[-1].decode("utf-8"), line


def body_checksum(file: BinaryIO) -> bytes:
    """BLAKE2b of everything after the header. Read, not mapped: a large list would count as our own memory."""
    digest = blake2b(digest_size=16)
    file.seek(HEADER)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.digest()

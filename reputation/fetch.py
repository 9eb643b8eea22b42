"""Brings the bytes of one feed to a local file. Knows HTTP, file://, limits, gzip; knows no format and no guard.

The transfer is bounded in every direction: connecting, silence, total time, bytes on the wire, bytes unpacked,
redirects, attempts. Each way to fail is a ListError with its own `why`.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.request import url2pathname

import httpx

from toc.errors import BadUrl, ListError
from toc.url import serialise

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
_PACKED_TWICE = 2  # a .gz file sent with Content-Encoding: gzip


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes, counts. `back_off` is the longest wait before the second attempt; it doubles each time."""

    connect: float = 10.0
    silence: float = 30.0
    total: float = 900.0
    packed: int = 1 << 30
    unpacked: int = 8 << 30
    redirects: int = 5
    attempts: int = 3
    back_off: float = 30.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """`path` is None where the source says that nothing changed since `etag` or `last_modified`.

    added_last: of a TAXII page, when the last object of it was added
    memory:     what a collector wants to find again at the next refresh, once this one is accepted
    """

    path: Path | None
    etag: str = ""
    last_modified: str = ""
    added_last: str = ""
    memory: Path | None = None


class _Temporary(Exception):
    """Worth another attempt. Carries the error to raise when there is none left."""

    def __init__(self, error: ListError) -> None:
        super().__init__(str(error))
        self.error = error


async def fetch(
    url: str,
    target: Path,
    *,
    client: httpx.AsyncClient,
    known: Fetched,
    limits: Limits,
    rng: random.Random,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Fetched:
    """Bring `url` (https, http, file) to `target`, as it came. `known` holds the validators of the last success.

    `headers` (authentication, Accept) go to the host of `url` only, a login not where another host is redirected to.

    Raises ListError when the last attempt failed, or at once where another attempt would bring the same.
    """
    scheme = url.partition(":")[0].lower()
    if scheme == "file":
        return _from_file(url, known)
    if scheme not in ("http", "https"):
        raise ListError(f"feeds come by https, http or file, not by {scheme!r}", why="scheme")
    sent = {"Accept-Encoding": "gzip, identity", **headers, **_validators(known)}
    for attempt in range(1, limits.attempts + 1):
        try:
            return await _once(url, target, client, sent, limits)
        except _Temporary as failed:
            if attempt == limits.attempts:
                raise failed.error from None
        # Full jitter: after an outage of the source its users must not return all at the same second.
        await asyncio.sleep(rng.uniform(0, limits.back_off * 2 ** (attempt - 1)))
    raise AssertionError("unreachable: attempts is at least one")


def _validators(known: Fetched) -> dict[str, str]:
    pairs = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified}
    return {name: value for name, value in pairs.items() if value}


async def _once(url: str, target: Path, client: httpx.AsyncClient, headers: dict[str, str], limits: Limits) -> Fetched:
    try:
        async with asyncio.timeout(limits.total):
            return await _transfer(url, target, client, headers, limits)
    except TimeoutError:
        raise _Temporary(ListError(f"not here after {limits.total:g} s", why="too_slow")) from None
    except httpx.TimeoutException:
        raise _Temporary(ListError(f"silent for {limits.silence:g} s", why="timeout")) from None
    except httpx.ConnectError as error:
        raise _Temporary(ListError(f"no connection: {error}", why="unreachable")) from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _Temporary(ListError(f"the transfer broke: {error or type(error).__name__}", why="transfer")) from None


async def _transfer(
    url: str, target: Path, client: httpx.AsyncClient, headers: dict[str, str], limits: Limits
) -> Fetched:
    async with _follow(url, client, headers, limits) as response:
        if response.status_code == 304 and ("If-None-Match" in headers or "If-Modified-Since" in headers):
            return Fetched(None, headers.get("If-None-Match", ""), headers.get("If-Modified-Since", ""))
        _check_status(response)
        await _save(response, target, limits)
        said = [response.headers.get(name, "") for name in ("etag", "last-modified", "x-taxii-date-added-last")]
        return Fetched(target, *said)


@asynccontextmanager
async def _follow(
    url: str, client: httpx.AsyncClient, headers: dict[str, str], limits: Limits
) -> AsyncIterator[httpx.Response]:
    """The answer at the end of the redirects; never from https down to http, as then anybody could write the list."""
    timeout = httpx.Timeout(limits.silence, connect=limits.connect)
    for _ in range(limits.redirects + 1):
        async with client.stream("GET", url, headers=headers, timeout=timeout, follow_redirects=False) as response:
            if not response.has_redirect_location:
                yield response
                return
            target = _next_hop(url, response.headers["location"])
        if _origin(target) != _origin(url):
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
        url = target
    raise ListError(f"more than {limits.redirects} redirects", why="redirects")


def _next_hop(url: str, location: str) -> str:
    try:
        target = serialise(location, url)
    except BadUrl:
        raise ListError("redirected to something that is no URL", why="redirect_target") from None
    scheme = target.partition(":")[0]
    if scheme not in ("http", "https") or (scheme == "http" and url.startswith("https:")):
        raise ListError(f"redirected from {url.partition(':')[0]} to {scheme}", why="redirect_target")
    return target


def _origin(url: str) -> str:
    return "/".join(url.split("/", 3)[:3])


def _check_status(response: httpx.Response) -> None:
    status = response.status_code
    if status == 200:
        if not response.headers.get("content-type", "").lower().startswith("text/html"):
            return
        raise ListError("a web page came instead of a list", why="html")
    error = ListError(f"the source answers {status}", why=f"status_{status}")
    if status in (408, 425, 429) or status >= 500:
        raise _Temporary(error)
    raise error


async def _save(response: httpx.Response, target: Path, limits: Limits) -> None:
    size = 0
    stated = response.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limits.packed:
        raise ListError(f"{int(stated):,} bytes announced, {limits.packed:,} allowed", why="too_large")
    with target.open("wb") as file:
        async for chunk in response.aiter_raw(_CHUNK):
            size += len(chunk)
            if size > limits.packed:
                raise ListError(f"more than {limits.packed:,} bytes", why="too_large")
            file.write(chunk)


def _from_file(url: str, known: Fetched) -> Fetched:
    """A file of this machine, for sites without a network. Its time and size stand for the validator."""
    path = Path(url2pathname(url.partition(":")[2].removeprefix("//").removeprefix("localhost")))
    try:
        found = path.stat()
    except OSError as error:
        raise ListError(f"{path} cannot be read: {error.strerror}", why="unreadable") from None
    if not path.is_file():
        raise ListError(f"{path} is no file", why="unreadable")
    etag = f"{found.st_mtime_ns}-{found.st_size}"
    return Fetched(None if etag == known.etag else path, etag)


def unpacked(path: Path, limit: int) -> Iterator[bytes]:
    """The bytes of `path`, unpacked where they are gzip, whatever the headers said. Bounded memory.

    Raises ListError ``gzip_cut``, ``gzip_broken`` or ``bomb`` (more than `limit` bytes unpacked).
    """
    chunks = _read(path)
    for _ in range(_PACKED_TWICE):
        first = next(chunks, b"")
        if not first.startswith(_GZIP):
            return _joined(first, chunks, limit)
        chunks = _gunzip(_joined(first, chunks, limit))
    return _joined(b"", chunks, limit)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _joined(first: bytes, rest: Iterator[bytes], limit: int) -> Iterator[bytes]:
    size = len(first)
    yield first
    for chunk in rest:
        size += len(chunk)
        if size > limit:
            raise ListError(f"unpacks to more than {limit:,} bytes", why="bomb")
        yield chunk


def _gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Every member of a gzip stream (RFC 1952 section 2.2), in pieces of bounded size."""
    unpacker = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=31)
            try:
                yield unpacker.decompress(rest, _CHUNK)
            except zlib.error:
                raise ListError("the gzip stream is broken", why="gzip_broken") from None
            rest = unpacker.unconsumed_tail or unpacker.unused_data
            if unpacker.eof:
                rest = rest.lstrip(b"\0")  # padding after the last member
    while not unpacker.eof and (late := unpacker.decompress(b"", _CHUNK)):
        yield late
    if not unpacker.eof:
        raise ListError("the gzip stream ends in the middle", why="gzip_cut")

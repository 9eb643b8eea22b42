"""Feeds that are more than one file: MISP feeds (manifest and events) and TAXII 2.1 collections.

Knows how to page through them into one local file, which a parser of `reputation.formats` then reads; knows no entry.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import msgspec

from reputation.fetch import Fetched, Limits, fetch, unpacked
from reputation.formats_json import document
from toc.errors import BadUrl, ListError
from toc.url import serialise

TAXII_MEDIA = "application/taxii+json;version=2.1"
_PAGE = 1000
FULL_DAYS = 7
"""A collection is fetched whole again after so long: what a server deletes, no increment tells."""
_UUID = re.compile(r"[0-9a-fA-F-]{36}\Z")


@dataclass(frozen=True, slots=True)
class Login:
    """User and password (HTTP Basic) or a token (Bearer); empty for none."""

    user: str = ""
    password: str = ""
    token: str = ""

    def headers(self) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}


NO_LOGIN = Login()


@dataclass(frozen=True, slots=True)
class Means:
    """With what a collector works.

    memory: what the last accepted refresh left behind; None where there is none, or all is to be fetched anew
    """

    client: httpx.AsyncClient
    login: Login
    limits: Limits
    rng: random.Random
    now: datetime
    memory: Path | None = None


class Collector(Protocol):
    """Bring everything of the feed at `url` into `target`. Raises ListError."""

    async def __call__(self, url: str, target: Path, means: Means) -> Fetched: ...


class _Reader:
    """Fetches JSON documents and adds up their sizes against the feed's limit."""

    def __init__(self, aside: Path, means: Means, accept: str = "") -> None:
        self._aside, self._means = aside, means
        self._headers = ({"Accept": accept} if accept else {}) | means.login.headers()
        self._size = 0
        self.last = Fetched(None)

    async def get(self, url: str) -> Any:
        means = self._means
        self.last = await fetch(
            url,
            self._aside,
            client=means.client,
            known=Fetched(None),
            limits=means.limits,
            rng=means.rng,
            headers=self._headers,
        )
        raw = b"".join(unpacked(self._aside, means.limits.packed))
        self._size += len(raw)
        if self._size > means.limits.packed:
            raise ListError(f"more than {means.limits.packed:,} bytes", why="too_large")
        return document(raw)


async def misp(url: str, target: Path, means: Means) -> Fetched:
    """A MISP feed: `url` is its manifest.json; each event lies beside it as <uuid>.json. One event a line."""
    reader = _Reader(target.with_suffix(".part"), means)
    manifest = await reader.get(url)
    if not isinstance(manifest, dict) or not all(_UUID.match(uuid) for uuid in manifest):
        raise ListError("the manifest names no events", why="format")
    with target.open("wb") as file:
        for uuid in manifest:
            event = await reader.get(_beside(url, f"{uuid}.json"))
            file.write(msgspec.json.encode(event) + b"\n")
    return Fetched(target)


def _beside(url: str, name: str) -> str:
    try:
        return serialise(name, url)
    except BadUrl:
        raise ListError(f"{url} is no URL", why="format") from None


class TaxiiMemory(msgspec.Struct, frozen=True):
    """First line of what is kept of a collection; behind it, each object on a line of its own.

    url: of the collection     added_after: mark of the server up to which all objects are here
    full_at: when all were fetched last
    """

    url: str
    added_after: str
    full_at: datetime


async def taxii(url: str, target: Path, means: Means) -> Fetched:
    """A TAXII 2.1 collection: `url` is its own (``…/collections/<id>/``). Pages by `next` (TAXII 2.1 section 3.5).

    After the first time only what was added since (`added_after`, section 3.4), merged with what was kept; objects that
    the server deleted fall out with the next full fetch.
    """
    kept = _remembered(url, means)
    fresh: list[dict[str, Any]] = []
    reader = _Reader(target.with_suffix(".part"), means, TAXII_MEDIA)
    mark = kept.added_after if kept else ""
    async for objects in _pages(reader, url, mark):
        fresh += objects
        mark = reader.last.added_last or mark
    if kept and not fresh:
        return Fetched(None)
    memory = target.with_suffix(".memory")
    with target.open("wb") as bundle, memory.open("wb") as file:
        file.write(msgspec.json.encode(TaxiiMemory(url, mark, kept.full_at if kept else means.now)) + b"\n")
        bundle.write(b'{"type":"bundle","objects":[')
        between = b""
        for line in _merged(means.memory if kept else None, fresh):
            file.write(line)
            bundle.write(between + line.rstrip(b"\n"))
            between = b","
        bundle.write(b"]}")
    return Fetched(target, memory=memory if mark else None)


def _remembered(url: str, means: Means) -> TaxiiMemory | None:
    """None where everything is to be fetched: the first time, after `FULL_DAYS`, and where the file is none of ours."""
    if means.memory is None:
        return None
    try:
        with means.memory.open("rb") as file:
            kept = msgspec.json.decode(file.readline(), type=TaxiiMemory)
    except (OSError, msgspec.DecodeError):
        return None
    return kept if kept.url == url and means.now - kept.full_at < timedelta(days=FULL_DAYS) else None


async def _pages(reader: _Reader, url: str, added_after: str) -> AsyncIterator[list[dict[str, Any]]]:
    place = url.rstrip("/") + "/objects/?"
    asked = {"limit": str(_PAGE), "match[type]": "indicator"} | ({"added_after": added_after} if added_after else {})
    mark, before = "", None
    while True:
        page = await reader.get(place + urlencode(asked | ({"next": mark} if mark else {})))
        objects = page.get("objects", []) if isinstance(page, dict) else None
        if not isinstance(objects, list):
            raise ListError("the server answers with no TAXII envelope", why="format")
        yield [item for item in objects if isinstance(item, dict)]
        mark = str(page.get("next") or "") if page.get("more") else ""
        if not mark:
            return
        # `next` may stay the same from page to page (medallion's is the name of a session): what must move is the content.
        if not objects or (mark, objects) == before:
            raise ListError("the server pages in a circle", why="endless")
        before = (mark, objects)


def _merged(memory: Path | None, fresh: list[dict[str, Any]]) -> Iterator[bytes]:
    """What was kept without the objects that came anew, then these, one a line."""
    ids = {str(item.get("id")) for item in fresh}
    if memory is not None:
        with memory.open("rb") as file:
            file.readline()
            for line in file:
                if str(msgspec.json.decode(line).get("id")) not in ids:
                    yield line
    for item in fresh:
        yield msgspec.json.encode(item) + b"\n"


COLLECTORS: dict[str, Collector] = {"misp_feed": misp, "taxii": taxii}

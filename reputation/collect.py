"""Feeds that are more than one file: MISP feeds (manifest and events) and TAXII 2.1 collections.

Knows how to page through them into one local file, which a parser of `reputation.formats` then reads; knows no entry.
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx
import msgspec

from reputation.fetch import Fetched, Limits, fetch
from reputation.formats_json import document
from toc.errors import BadUrl, ListError
from toc.url import serialise

TAXII_MEDIA = "application/taxii+json;version=2.1"
_PAGE = 1000
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


class Collector(Protocol):
    """Bring everything of the feed at `url` into `target`. Raises ListError."""

    async def __call__(
        self, url: str, target: Path, *, client: httpx.AsyncClient, login: Login, limits: Limits, rng: random.Random
    ) -> Fetched: ...


class _Reader:
    """Fetches JSON documents and adds up their sizes against the feed's limit."""

    def __init__(self, aside: Path, client: httpx.AsyncClient, limits: Limits, rng: random.Random) -> None:
        self._aside, self._client, self._limits, self._rng = aside, client, limits, rng
        self._size = 0

    async def get(self, url: str, headers: Mapping[str, str]) -> Any:
        await fetch(
            url,
            self._aside,
            client=self._client,
            known=Fetched(None),
            limits=self._limits,
            rng=self._rng,
            headers=headers,
        )
        raw = self._aside.read_bytes()
        self._size += len(raw)
        if self._size > self._limits.packed:
            raise ListError(f"more than {self._limits.packed:,} bytes", why="too_large")
        return document(raw)


async def misp(
    url: str, target: Path, *, client: httpx.AsyncClient, login: Login, limits: Limits, rng: random.Random
) -> Fetched:
    """A MISP feed: `url` is its manifest.json; each event lies beside it as <uuid>.json. One event a line."""
    reader = _Reader(target.with_suffix(".part"), client, limits, rng)
    manifest = await reader.get(url, login.headers())
    if not isinstance(manifest, dict) or not all(_UUID.match(uuid) for uuid in manifest):
        raise ListError("the manifest names no events", why="format")
    with target.open("wb") as file:
        for uuid in manifest:
            event = await reader.get(_beside(url, f"{uuid}.json"), login.headers())
            file.write(msgspec.json.encode(event) + b"\n")
    return Fetched(target)


def _beside(url: str, name: str) -> str:
    try:
        return serialise(name, url)
    except BadUrl:
        raise ListError(f"{url} is no URL", why="format") from None


async def taxii(
    url: str, target: Path, *, client: httpx.AsyncClient, login: Login, limits: Limits, rng: random.Random
) -> Fetched:
    """A TAXII 2.1 collection: `url` is its own (``…/collections/<id>/``). Pages by `next` (TAXII 2.1 section 3.5)."""
    reader = _Reader(target.with_suffix(".part"), client, limits, rng)
    headers = {"Accept": TAXII_MEDIA, **login.headers()}
    place = url.rstrip("/") + "/objects/?"
    mark, marks = "", set[str]()
    with target.open("wb") as file:
        file.write(b'{"type":"bundle","objects":[')
        first = True
        while True:
            query = {"limit": str(_PAGE), "match[type]": "indicator"} | ({"next": mark} if mark else {})
            page = await reader.get(place + urlencode(query), headers)
            objects = page.get("objects", []) if isinstance(page, dict) else None
            if not isinstance(objects, list):
                raise ListError("the server answers with no TAXII envelope", why="format")
            for item in objects:
                file.write((b"" if first else b",") + msgspec.json.encode(item))
                first = False
            mark = str(page.get("next") or "") if page.get("more") else ""
            if not mark:
                break
            if mark in marks:
                raise ListError("the server pages in a circle", why="endless")
            marks.add(mark)
        file.write(b"]}")
    return Fetched(target)


COLLECTORS: dict[str, Collector] = {"misp_feed": misp, "taxii": taxii}

"""HTTP GET for live sources: bounded in time and size, every failure a SourceError. Knows HTTP; no protocol above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx

from reputation.breaker import SourceError

MAX_ANSWER = 1_000_000
"""Bytes. Real answers have a few hundred."""

_MAX_CONNECTIONS = httpx.Limits(max_connections=32, max_keepalive_connections=8)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back with status 200. `kind`: the media type without parameters, lower case."""

    kind: str
    body: bytes


class HttpSource:
    """One server. Belongs to one event loop; its connections are opened at the first question.

    base:    URL without a path behind it     seconds: for one question, connecting included
    proxy:   URL of a proxy; empty for none: the environment is not asked, a live source is the operator's choice
    """

    def __init__(self, base: str, *, headers: Mapping[str, str], seconds: float, proxy: str = "") -> None:
        self.base = base.rstrip("/")
        self._headers = {"User-Agent": "time-of-click", **headers}
        self._seconds = seconds
        self._proxy = proxy
        self._client: httpx.AsyncClient | None = None

    async def get(self, path: str, query: Sequence[tuple[str, str]], accept: str) -> Answer:
        """Raises SourceError; `hard` where the server refuses us (any status but 200)."""
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers=self._headers,
                timeout=self._seconds,
                limits=_MAX_CONNECTIONS,
                proxy=self._proxy or None,
                trust_env=False,
                follow_redirects=False,
            )
        try:
            request = self._client.stream("GET", self.base + path, params=tuple(query), headers={"Accept": accept})
            async with request as response:
                if response.status_code != httpx.codes.OK:
                    raise SourceError(f"{self.base} answers with status {response.status_code}", hard=True)
                kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
                return Answer(kind, await _bounded(response))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise SourceError(f"{self.base}: {error or type(error).__name__}") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise SourceError(f"an answer of more than {MAX_ANSWER:,} bytes")
    return bytes(body)

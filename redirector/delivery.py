"""Ways to hand lines to another system, in order: a stream of syslog messages, a signed webhook. Knows no click, no table.

    deliver(items) ─▶ the number up to which everything has certainly arrived

A webhook says so itself. A syslog stream says nothing: what was written is believed once the connection has outlived it by
`SETTLE` seconds, and is sent again where it has not. So nothing is missing over there, and after a break a few lines come
twice, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import httpx

from redirector.syslog import framed, message
from toc.errors import TocError

SETTLE = 3.0
"""Seconds: a collector reads what has reached it well within them, or has stopped to read, and then writing blocks."""

TIMEOUT = 15.0
MAX_RETRY_AFTER = 3600.0


class DeliveryError(TocError):
    """It did not arrive, or nobody knows. `after`: seconds that the other side asked us to wait."""

    status = 503
    reason = "delivery_failed"

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Item(NamedTuple):
    """One line to deliver. `number`: its place in the order; `time`: RFC 3339; `severity`: of syslog."""

    number: int
    line: str
    time: str
    severity: int
    kind: str = "click"


class Road(Protocol):
    """A way to one receiver. One task uses it."""

    async def deliver(self, items: Sequence[Item]) -> int:
        """Send all; empty to look after what was sent before. Returns the last number that has certainly arrived, 0 for
        none yet. Raises DeliveryError: whatever was not certain has to be sent again."""
        ...

    async def close(self) -> None: ...


class SyslogStream:
    """RFC 5424 over TCP, or over TLS where `context` is given."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        context: ssl.SSLContext | None,
        own_name: str,
        clock: Callable[[], float],
        settle: float = SETTLE,
    ) -> None:
        self._place = (host, port)
        self._context = context
        self._own_name = own_name
        self._clock = clock
        self._settle = settle
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._sent: deque[tuple[int, float]] = deque()

    async def deliver(self, items: Sequence[Item]) -> int:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._deliver(items)
        except (OSError, TimeoutError, ssl.SSLError) as error:
            await self.close()
            raise DeliveryError(f"{self._place[0]}:{self._place[1]}: {str(error) or type(error).__name__}") from None

    async def _deliver(self, items: Sequence[Item]) -> int:
        if self._writer is None and items:
            self._reader, self._writer = await asyncio.open_connection(*self._place, ssl=self._context)
            self._writer.transport.set_write_buffer_limits(high=0)  # drain() waits until the kernel has all
        self._look()
        if items and self._writer is not None:
            self._writer.write(b"".join(map(self._frame, items)))
            await self._writer.drain()
            self._sent.append((items[-1].number, self._clock()))
        certain = 0
        while self._sent and self._sent[0][1] + self._settle <= self._clock():
            certain = self._sent.popleft()[0]
        return certain

    def _look(self) -> None:
        """Raises ConnectionError where the collector has closed: it has nothing to say otherwise."""
        if self._reader is not None and (self._reader.at_eof() or self._reader.exception() is not None):
            raise ConnectionError("the connection was closed over there")

    def _frame(self, item: Item) -> bytes:
        text = item.line.rstrip("\r\n")
        return framed(message(text, time=item.time, host=self._own_name, kind=item.kind, severity=item.severity))

    async def close(self) -> None:
        """What is not certain yet is forgotten: it is to be sent again."""
        self._sent.clear()
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError, TimeoutError, ssl.SSLError):
                async with asyncio.timeout(1.0):
                    await writer.wait_closed()


@dataclass(frozen=True, slots=True)
class Hook:
    """Where a webhook is, and the secret that both sides know."""

    url: str
    secret: str
    name: str
    media_type: str


class Webhook:
    """Each part of the lines is one POST; any answer of 2xx takes it. Redirects are not followed."""

    def __init__(self, hook: Hook, client: httpx.AsyncClient, now: Callable[[], float]) -> None:
        self._hook = hook
        self._client = client
        self._now = now

    async def deliver(self, items: Sequence[Item]) -> int:
        if not items:
            return 0
        answer = await self._post(items)
        if answer.status_code == 413 and len(items) > 1:
            middle = len(items) // 2
            await self.deliver(items[:middle])
            return await self.deliver(items[middle:])
        if not answer.is_success:
            after = _seconds(answer.headers.get("retry-after", ""))
            raise DeliveryError(f"{self._hook.url}: status {answer.status_code}", after=after)
        return items[-1].number

    async def _post(self, items: Sequence[Item]) -> httpx.Response:
        body = "".join(item.line for item in items).encode("utf-8", "replace")
        headers = {
            "Content-Type": self._hook.media_type,
            "Toc-Signature": signature(self._hook.secret, int(self._now()), body),
            "Toc-Delivery": f"{self._hook.name}/{items[0].number}-{items[-1].number}",
        }
        try:
            return await self._client.post(self._hook.url, content=body, headers=headers, follow_redirects=False)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise DeliveryError(f"{self._hook.url}: {str(error) or type(error).__name__}") from None

    async def close(self) -> None:
        await self._client.aclose()


def signature(secret: str, seconds: int, body: bytes) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 over the seconds since 1970, a dot, and the body."""
    digest = hmac.new(secret.encode(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _seconds(text: str) -> float:
    return min(float(text), MAX_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0


def tls_context(ca_file: str, cert: str = "", key: str = "") -> ssl.SSLContext:
    """Certificate and name of the other side are always checked. Raises OSError, ssl.SSLError for files that are none."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if cert:
        context.load_cert_chain(cert, key or None)
    return context

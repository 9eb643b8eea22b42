"""A small HTTP server on 127.0.0.1 that serves lists well and badly, as rows of fixtures/bad_feeds.jsonl ask."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


def body_of(spec: dict[str, Any]) -> bytes:
    """The bytes that a fixture row describes: domains, text and repetitions, then encoded, packed, damaged, cut."""
    text = "".join(f"d{number}.example\n" for number in range(*spec.get("domains", (0, 0))))
    text += spec.get("text", "")
    if "repeat" in spec:
        piece, times = spec["repeat"]
        text += piece * times
    raw = text.encode(spec.get("encoding", "utf-8"))
    for _ in range(int(spec.get("gzip", 0))):
        raw = gzip.compress(raw, mtime=0)
    if "flip" in spec:
        place = spec["flip"] % len(raw)
        raw = raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]
    return raw[: spec["cut"]] if "cut" in spec else raw


class FeedServer:
    """`pages` maps a path to a row; `seen` holds the requests, each as its header lines in lower case."""

    def __init__(self) -> None:
        self.pages: dict[str, dict[str, Any]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.base = ""
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            path = head[0].split(" ")[1]
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            self.seen.append((path, headers))
            await self._answer(writer, self.pages[path], headers)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, row: dict[str, Any], headers: dict[str, str]) -> None:
        mode, body = row.get("mode", "whole"), body_of(row.get("body", {}))
        status = row.get("status", 200)
        if row.get("etag") and headers.get("if-none-match") == row["etag"]:
            status, body = 304, b""
        lines = [f"HTTP/1.1 {status} x", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in row.get("headers", {}).items()]
        if row.get("etag"):
            lines.append(f"ETag: {row['etag']}")
        if mode in ("whole", "half", "stall"):
            lines.append(f"Content-Length: {len(body)}")
        if mode == "announce":
            lines.append("Content-Length: 9000000000")
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        for piece, pause in _pieces(mode, head, body):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _pieces(mode: str, head: bytes, body: bytes):
    """What is sent, and how long to pause after it."""
    match mode:
        case "close":
            return [(b"", 0)]
        case "hang":
            return [(b"", 30)]
        case "noise":
            return [(b"\x16\x03\x01 220 hello\r\n\r\n", 0)]
        case "endless":
            return itertools.chain([(head, 0)], itertools.repeat((b"x.example\n" * 1000, 0)))
        case "drip":
            return itertools.chain([(head, 0)], itertools.repeat((b"x", 0.02)))
        case "half":
            return [(head + body[: len(body) // 2], 0)]
        case "stall":
            return [(head + body[: len(body) // 2], 30)]
        case "announce":
            return [(head, 30)]
    return [(head + body, 0)]


@asynccontextmanager
async def feed_server() -> AsyncIterator[FeedServer]:
    served = FeedServer()
    server = await asyncio.start_server(served.handle, "127.0.0.1", 0)
    served.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()
        await served.stop()
        await server.wait_closed()

"""Clicks under load, each one recognisable in the record by its user agent; and the record that must hold them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

AGENT = "Mozilla/5.0 (X11; Linux x86_64) click-"
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}{number}\r\nAccept: text/html\r\nAccept-Language: en\r\n"
    "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-User: ?1\r\n\r\n"
)
ANSWER_SECONDS = 30.0

_numbers = itertools.count()


@dataclass
class Load:
    """What came of the clicks: number → status; or how the ones without an answer ended."""

    link: str
    answered: dict[int, int] = field(default_factory=dict)
    unanswered: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    ending: bool = False

    async def click_on(self, pause: float) -> None:
        """One client: a click after another on one connection, a new connection where it broke."""
        address = urlsplit(self.link)
        assert address.hostname is not None
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not self.ending:
            number = next(_numbers)
            began = time.monotonic()
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection(address.hostname, address.port)
                text = REQUEST.format(path=address.path, host=address.netloc, agent=AGENT, number=number)
                writer.write(text.encode())
                self.answered[number] = await asyncio.wait_for(_status(reader), ANSWER_SECONDS)
                self.slowest = max(self.slowest, time.monotonic() - began)
            except (OSError, EOFError, TimeoutError) as error:
                self.unanswered[number] = repr(error)
                if writer is not None:
                    writer.close()
                reader = writer = None
                await asyncio.sleep(0.02)
            await asyncio.sleep(pause)
        if writer is not None:
            writer.close()


async def _status(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            await reader.readexactly(int(value))
    return int(head.split()[1])


@contextlib.contextmanager
def clicking(link: str, *, clients: int = 4, pause: float = 0.02) -> Iterator[Load]:
    """Click on `link` all the while."""
    load = Load(link)

    async def all_clients() -> None:
        await asyncio.gather(*[load.click_on(pause) for _ in range(clients)])

    thread = threading.Thread(target=lambda: asyncio.run(all_clients()))
    thread.start()
    try:
        yield load
    finally:
        load.ending = True
        thread.join(2 * ANSWER_SECONDS)


def on_record(database: Path) -> Counter[int]:
    """How often each click's number stands in the record."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        rows = connection.execute("SELECT user_agent FROM clicks WHERE user_agent LIKE ?", (AGENT + "%",)).fetchall()
    finally:
        connection.close()
    return Counter(int(agent.removeprefix(AGENT)) for (agent,) in rows)


def until_on_record(record: Callable[[], Counter[int]], load: Load, seconds: float = 30.0) -> None:
    """Every click that got its answer is on record, once; no click is there twice."""
    end = time.monotonic() + seconds
    while set(load.answered) - set(found := record()) and time.monotonic() < end:
        time.sleep(0.2)
    missing = sorted(set(load.answered) - set(found))
    assert missing == [], f"{len(missing)} of {len(load.answered)} are not on record"
    assert [number for number, count in found.items() if count != 1] == []

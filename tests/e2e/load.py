"""A steady stream of clicks against a service that is restarted, killed or overloaded meanwhile, and what became of each."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from redirector.spool import generation_of, read
from tests.e2e.conftest import READER
from toc.keys import load
from toc.token import Sealed, host_part, seal
from toc.url import parse

CLOSE = "Connection: close\r\n"
HEAD = "".join(f"{key}: {value}\r\n" for key, value in READER.items())


def sealed_paths(keyset_file: Path, count: int, host: str = "load.example") -> list[str]:
    """Paths of distinct links, sealed with the keyset alone."""
    keyset, now = load(keyset_file), datetime.now(UTC)
    found = []
    for number in range(count):
        url = parse(f"https://{host}/{number}")
        part = host_part(url)
        found.append(f"/u/{part}/{seal(Sealed(url.href, now), part, keyset)}")
    return found


def request(path: str, close: bool) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{HEAD}{CLOSE if close else ''}\r\n".encode()


async def ask(address: tuple[str, int], path: str) -> int:
    """The status of the answer on a connection of its own; 0 where there was none, or half of one."""
    try:
        reader, writer = await asyncio.open_connection(*address)
    except OSError:
        return 0
    try:
        writer.write(request(path, close=True))
        answer = await asyncio.wait_for(reader.read(), 60)
    except (OSError, TimeoutError):
        return 0
    finally:
        writer.close()
    head, end, _ = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if end else 0


@dataclass
class Stream:
    """What a stream of clicks found. `answers`: statuses; 0 for a click that failed."""

    answers: Counter[int] = field(default_factory=Counter)
    slowest: float = 0.0


@contextmanager
def clicking(address: tuple[str, int], paths: list[str], rate: float) -> Iterator[Stream]:
    """`rate` clicks a second, each on a new connection, in a thread, until the block ends and all are answered."""
    stream = Stream()
    ended = threading.Event()

    async def one(path: str) -> None:
        began = time.monotonic()
        stream.answers[await ask(address, path)] += 1
        stream.slowest = max(stream.slowest, time.monotonic() - began)

    async def run() -> None:
        start, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            while not ended.is_set():
                tasks.create_task(one(paths[number % len(paths)]))
                number += 1
                await asyncio.sleep(max(0.0, start + number / rate - time.monotonic()))

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield stream
    finally:
        ended.set()
        thread.join(120)


def node(full: Path, folder: Path, port: int) -> Path:
    """The folder of a node without a database, with what is copied to it from a full one. Its settings file."""
    folder.mkdir()
    for name in ("keyset.json", "snapshot.msgpack", "stored-links.sqlite"):
        shutil.copy2(full / name, folder / name)
    if (full / "lists").exists():
        shutil.copytree(full / "lists", folder / "lists")
    text = (full / "toc.toml").read_text()
    settings = folder / "toc.toml"
    settings.write_text(re.sub(r'public_listen = "127.0.0.1:\d+"', f'public_listen = "127.0.0.1:{port}"', text))
    return settings


def spooled(folder: Path) -> int:
    """Records that wait in a node's spools."""
    found = 0
    for path in (folder / "spool").glob("clicks-*.spool"):
        handle = os.open(path, os.O_RDONLY)
        found += sum(1 for _ in read(handle, generation_of(handle) or 0))
        os.close(handle)
    return found

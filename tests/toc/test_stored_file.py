"""The stored-link file has what the database has, and a reader without either says so instead of calling a link damaged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from sqlalchemy import insert

from tests.redirector.databases import sqlite_database
from toc import stored_file
from toc.errors import StoreNeeded
from toc.sightings import StoreReader
from toc.store.engine import open_async
from toc.store.schema import from_micros, stored_links


@pytest.fixture
def url(tmp_path: Path) -> str:
    return sqlite_database(tmp_path)


async def put(url: str, numbers: range, micros: int) -> None:
    engine = open_async(url)
    async with engine.begin() as connection:
        rows = [
            {"id": number.to_bytes(16, "big"), "field": b"https://e.example/%d" % number, "time": from_micros(micros)}
            for number in numbers
        ]
        await connection.execute(insert(stored_links), rows)
    await engine.dispose()


async def follow(url: str, path: Path) -> None:
    engine = open_async(url)
    await stored_file.follow(engine, path)
    await engine.dispose()


async def test_rows_come_over_once_and_later_ones_follow_even_at_the_same_moment(url: str, tmp_path: Path) -> None:
    path = tmp_path / stored_file.FILE_NAME
    await put(url, range(12_000), 1_000_000)
    await follow(url, path)
    await put(url, range(12_000, 12_010), 1_000_000)
    await follow(url, path)
    for number in (0, 4_999, 5_000, 11_999, 12_009):
        assert stored_file.find(path, number.to_bytes(16, "big")) == b"https://e.example/%d" % number
    assert stored_file.find(path, bytes(15) + b"\xff") is not None
    assert stored_file.find(path, b"\xff" * 16) is None


async def test_a_reader_asks_the_database_then_the_file_then_says_that_it_cannot_know(url: str, tmp_path: Path) -> None:
    path = tmp_path / stored_file.FILE_NAME
    await put(url, range(3), 1_000_000)
    one, none = (1).to_bytes(16, "big"), b"\xff" * 16
    assert await StoreReader(url, time.monotonic, path).stored(one) == b"https://e.example/1"
    assert await StoreReader(url, time.monotonic, path).stored(none) is None, (
        "the database is at hand and has no such row"
    )
    for away in (None, f"sqlite:///{tmp_path}/gone/toc.db", "postgresql://nobody@127.0.0.1:1/none"):
        with pytest.raises(StoreNeeded):
            await StoreReader(away, time.monotonic, path).stored(one)
    await follow(url, path)
    for away in (None, f"sqlite:///{tmp_path}/gone/toc.db", "postgresql://nobody@127.0.0.1:1/none"):
        assert await StoreReader(away, time.monotonic, path).stored(one) == b"https://e.example/1"
        with pytest.raises(StoreNeeded):
            await StoreReader(away, time.monotonic, path).stored(none)

"""The recorder's loop: what it does where more clicks come than the database takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from redirector.clicks import COLUMNS
from redirector.record import Kept
from redirector.recorder import SLOWING_SHARE, slowing
from tests.redirector.databases import sqlite_database
from tests.redirector.record_data import ids, rows
from tests.redirector.recording import Machine, machine, worker
from tests.redirector.test_record import locked


@pytest.mark.parametrize("share", [0.0, 0.5, SLOWING_SHARE])
def test_a_journal_with_room_holds_nobody_up(share: float) -> None:
    assert slowing(share, 0.03) == 0.0


def test_the_fuller_the_journal_the_longer_an_append_waits_and_never_longer_than_a_worker() -> None:
    waits = [slowing(SLOWING_SHARE + step / 100, 0.03) for step in range(1, 26)]
    assert waits == sorted(set(waits))
    assert 0 < waits[0] < waits[-1] == pytest.approx(0.03)


def heavy(row: tuple[object, ...]) -> tuple[object, ...]:
    """With so much evidence that about a thousand fill the journal."""
    place = COLUMNS.index("evidence")
    return (*row[:place], f'{{"x": "{"x" * 60_000}"}}', *row[place + 1 :])


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Machine]:
    with machine(tmp_path, sqlite_database(tmp_path)) as made:
        made.start()
        yield made


async def test_a_journal_that_fills_loses_and_doubles_nothing(node: Machine) -> None:
    """The database is locked until the journal has slowed clicks down, and is full."""
    kept: dict[Kept, int] = dict.fromkeys(Kept, 0)
    numbers = range(1200)
    async with worker(node, size=32 << 20) as recorder:
        with locked(node.database):
            for place in range(0, len(numbers), 20):
                made = [heavy(row) for row in rows(numbers[place : place + 20])]
                for where in await asyncio.gather(*map(recorder.keep, made)):
                    kept[where] += 1
    assert kept[Kept.DATABASE] > kept[Kept.SPOOL] > 0
    assert kept[Kept.LOST] == 0
    found = await asyncio.to_thread(node.until_stored, set(ids(numbers)))
    assert sorted(found) == ids(numbers)

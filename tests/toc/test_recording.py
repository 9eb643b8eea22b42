"""A mail's record is durable when `record` returns, on both databases and without any; what comes together goes in together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from sqlalchemy import func, select

from toc.receipts import ReceiptSpool
from toc.recording import Recording
from toc.records import LinkRow, MessageRecord
from toc.store import engine
from toc.store.schema import holders, links, messages

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def record(number: int, *recipients: int) -> MessageRecord:
    link = LinkRow(
        part="1", kind="a", url="https://e.example/", spelling="", outcome="rewritten", reason="sealed", link=None, level=None
    )  # fmt: skip
    return MessageRecord(
        ref=number.to_bytes(8, "big"), time=NOW, message_id=f"{number}@e", sender_ref=None, subject="x", direction=0, size=1,
        complete=True, worst_level=None, recipients=tuple(one.to_bytes(8, "big") for one in recipients), people={}, links=(link,),
    )  # fmt: skip


@dataclass
class Held:
    recording: Recording
    spool: ReceiptSpool
    path: Path

    def count(self, table: str) -> int:
        with sqlite3.connect(self.path) as database:
            return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@pytest_asyncio.fixture
async def held(tmp_path: Path) -> AsyncIterator[Held]:
    url = f"sqlite:///{tmp_path}/toc.db"
    await asyncio.to_thread(engine.upgrade, url)
    spool = ReceiptSpool(tmp_path / "spool")
    database = engine.open_async(url)
    async with Recording.open(url, database, spool) as recording:
        yield Held(recording, spool, tmp_path / "toc.db")
    await database.dispose()


async def test_what_is_recorded_is_in_the_database_when_the_call_returns(held: Held) -> None:
    await held.recording.record(record(1, 7))
    assert [held.count(table.name) for table in (messages, links, holders)] == [1, 1, 1]


async def test_many_at_once_are_all_there_and_nothing_twice(held: Held) -> None:
    await asyncio.gather(*(held.recording.record(record(number % 100, number)) for number in range(300)))
    assert [held.count(table.name) for table in (messages, links, holders)] == [100, 100, 300]
    assert held.spool.waiting() == []


async def test_a_locked_database_costs_a_while_and_no_record(held: Held) -> None:
    with sqlite3.connect(held.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.gather(*(held.recording.record(record(number)) for number in range(5)))
        assert len(held.spool.waiting()) == 5
        other.execute("ROLLBACK")
    database = engine.open_async(f"sqlite:///{held.path}")
    await held.spool.ship(database)
    async with database.connect() as connection:
        assert await connection.scalar(select(func.count()).select_from(messages)) == 5
    await database.dispose()


async def test_one_that_no_database_takes_is_kept_and_the_next_goes_in(held: Held) -> None:
    await held.recording.record(msgspec.structs.replace(record(1), size=2**63))
    assert len(held.spool.waiting()) == 1
    await held.recording.record(record(2))
    assert held.count("messages") == 1


async def test_where_not_even_the_spool_takes_it_the_answer_says_so(held: Held) -> None:
    with pytest.raises(OverflowError):
        await held.recording.record(msgspec.structs.replace(record(1), size=2**70))
    await held.recording.record(record(2))
    assert held.count("messages") == 1


async def test_a_mail_given_up_while_it_waits_does_not_stop_the_others(held: Held) -> None:
    given_up = asyncio.create_task(held.recording.record(record(1)))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await held.recording.record(record(2))
    assert held.count("messages") == 2

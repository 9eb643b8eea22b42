"""The record between a worker and the recorder, over real sockets, with a real recorder and a real database.

Invariants: a row that `record` answered for with anything but LOST is stored, once, whatever happens to the recorder, the
wire and the database; `record` always answers; it never waits much longer than it is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from redirector.record import Kept, Recorder
from tests.redirector.databases import crash_postgres, new_database, postgres, running_postgres, sqlite_database
from tests.redirector.record_data import ids, rows
from tests.redirector.recording import Machine, Wire, machine, wire, worker


async def record_all(recorder: Recorder, numbers: Sequence[int], at_once: int = 20) -> Counter[Kept]:
    """Record the clicks with these numbers, so many at once."""
    kept: Counter[Kept] = Counter()
    made = rows(numbers)
    for place in range(0, len(made), at_once):
        kept.update(await asyncio.gather(*[recorder.keep(row) for row in made[place : place + at_once]]))
    return kept


async def assert_stored_once(node: Machine, numbers: Sequence[int]) -> None:
    found = await asyncio.to_thread(node.until_stored, set(ids(numbers)))
    assert sorted(found) == ids(numbers)


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Machine]:
    """No recorder runs yet; what it is sent waits in the listening socket."""
    with machine(tmp_path, sqlite_database(tmp_path)) as made:
        yield made


@pytest.fixture
def node(idle: Machine) -> Machine:
    idle.start()
    return idle


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Another writer holds SQLite's lock."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def test_every_row_is_stored_once_in_the_database(database: str, tmp_path: Path) -> None:
    numbers = range(400)
    with machine(tmp_path, database) as node:
        node.start()
        async with worker(node) as recorder:
            kept = await record_all(recorder, numbers)
        assert kept[Kept.LOST] == 0
        await assert_stored_once(node, numbers)


async def test_without_a_recorder_rows_wait_in_the_spool_until_one_comes(idle: Machine) -> None:
    async with worker(idle) as recorder:
        assert await record_all(recorder, range(60)) == {Kept.SPOOL: 60}
    idle.start()
    await assert_stored_once(idle, range(60))


async def test_a_worker_finds_a_recorder_that_comes_later(idle: Machine) -> None:
    hidden = idle.socket_path.with_name("later")
    async with worker(idle, path=hidden) as recorder:
        assert await record_all(recorder, range(10)) == {Kept.SPOOL: 10}
        hidden.symlink_to(idle.socket_path)
        idle.start()
        kept: Counter[Kept] = Counter()
        number = 10
        while not kept[Kept.DATABASE]:
            kept += await record_all(recorder, [number])
            number += 1
            await asyncio.sleep(0.02)
    await assert_stored_once(idle, range(number))


async def test_bytes_that_come_in_pieces_are_put_together(node: Machine) -> None:
    for start, piece in ((0, 1), (40, 7), (80, 13)):
        async with wire(node, Wire(piece=piece)) as path, worker(node, path=path) as recorder:
            kept = await record_all(recorder, range(start, start + 40), at_once=3)
            assert kept[Kept.LOST] == 0
    await assert_stored_once(node, range(120))


async def test_an_acknowledgement_that_comes_late_and_the_spool_store_once(node: Machine) -> None:
    how = Wire(delay=0.2)
    async with wire(node, how) as path, worker(node, path=path) as recorder:
        assert await record_all(recorder, range(30)) == {Kept.SPOOL: 30}
        await asyncio.sleep(0.3)  # the acknowledgements of batches that nobody waits for any more arrive
        how.delay = 0.0
        assert (await record_all(recorder, range(30, 40)))[Kept.LOST] == 0
    await assert_stored_once(node, range(40))


async def test_a_wire_that_breaks_in_the_middle_of_a_batch_loses_and_doubles_nothing(node: Machine) -> None:
    cuts = (1, 11, 12, 13, 300, 700, 2000, 5000)  # in the frame's head, behind it, within rows, in the second batch
    for start, cut in zip(range(0, 400, 40), cuts, strict=False):
        how = Wire(cut=cut)
        async with wire(node, how) as path, worker(node, path=path) as recorder:
            kept = await record_all(recorder, range(start, start + 30), at_once=10)
            assert kept[Kept.LOST] == 0, cut
            assert kept[Kept.SPOOL] > 0, cut
            while how.connections < 2:  # noqa: ASYNC110 - until it has reached the recorder anew
                await asyncio.sleep(0.02)
            await record_all(recorder, range(start + 30, start + 40))
    await assert_stored_once(node, range(40 * len(cuts)))


async def test_a_recorder_that_hangs_holds_no_click_up(node: Machine) -> None:
    async with worker(node) as recorder:
        node.send(signal.SIGSTOP)
        assert await record_all(recorder, range(20)) == {Kept.SPOOL: 20}
        node.send(signal.SIGCONT)
        assert (await record_all(recorder, range(20, 30)))[Kept.LOST] == 0
    await assert_stored_once(node, range(30))


async def test_a_locked_database_holds_no_click_up(node: Machine) -> None:
    async with worker(node) as recorder:
        with locked(node.database):
            kept = await record_all(recorder, range(40))
            assert kept[Kept.LOST] == 0
            await asyncio.sleep(1.2)  # past the recorder's own patience
            assert (await record_all(recorder, range(40, 50)))[Kept.LOST] == 0
    await assert_stored_once(node, range(50))


def test_a_database_server_that_crashes_and_comes_back_holds_no_click_up(tmp_path: Path) -> None:
    with contextlib.ExitStack() as servers:
        url = new_database(servers.enter_context(postgres(tmp_path)), "crash")
        port = int(url.rpartition(":")[2].partition("/")[0])

        async def walk(node: Machine) -> None:
            async with worker(node) as recorder:
                assert (await record_all(recorder, range(20)))[Kept.LOST] == 0
                await assert_stored_once(node, range(20))
                crash_postgres(tmp_path)
                assert (await record_all(recorder, range(20, 60)))[Kept.LOST] == 0
                again = running_postgres(tmp_path, port)
                await asyncio.to_thread(servers.enter_context, again)
                assert (await record_all(recorder, range(60, 70)))[Kept.LOST] == 0
            await assert_stored_once(node, range(70))

        with machine(tmp_path, url) as node:
            node.start()
            asyncio.run(walk(node))


async def test_a_recorder_killed_again_and_again_loses_and_doubles_nothing(node: Machine) -> None:
    chance = random.Random(5)
    numbers = iter(range(1_000_000))
    done: list[int] = []
    ending = False

    async def clicks(recorder: Recorder) -> None:
        while not ending:
            number = next(numbers)
            if (await record_all(recorder, [number]))[Kept.LOST] == 0:
                done.append(number)

    async with worker(node, size=8 << 20) as recorder:
        running = [asyncio.create_task(clicks(recorder)) for _ in range(20)]
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.01, 0.3))
            await asyncio.to_thread(node.restart)
        ending = True
        await asyncio.gather(*running)
    assert sorted(done) == list(range(len(done))), "nothing was lost"
    await assert_stored_once(node, sorted(done))


async def test_a_full_spool_says_so_and_goes_on_when_it_was_shipped(idle: Machine) -> None:
    async with worker(idle, path=idle.socket_path.with_name("nobody"), size=4096) as recorder:
        kept = [(await record_all(recorder, [number]))[Kept.SPOOL] for number in range(40)]
        held = list(range(sum(kept)))
        assert 0 < len(held) < 40
        assert all(kept[number] for number in held), "the first ones, without a gap"
        idle.start()
        await assert_stored_once(idle, held)
        after = 100
        while (await record_all(recorder, [after]))[Kept.LOST]:  # until its space is given back
            after += 1
            await asyncio.sleep(0.05)
    await assert_stored_once(idle, [*held, after])


async def test_closing_waits_for_what_is_under_way(node: Machine) -> None:
    async with worker(node) as recorder:
        with locked(node.database):
            under_way = [recorder.keep(row) for row in rows(range(5))]
            await asyncio.sleep(0.01)
            await recorder.close()
            assert all(task.done() for task in under_way)
    await assert_stored_once(node, range(5))


async def test_the_recorder_takes_what_has_arrived_before_it_ends(node: Machine) -> None:
    async with worker(node) as recorder:
        under_way = asyncio.gather(*[recorder.keep(row) for row in rows(range(200))])
        await asyncio.sleep(0)
        await asyncio.to_thread(node.end)
        assert Kept.LOST not in await under_way
    node.start()
    await assert_stored_once(node, range(200))

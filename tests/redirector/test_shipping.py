"""Shipping spools into the database.

Invariants: what a spool holds is stored once and in order, whoever writes meanwhile, wherever the shipper ends or the
database fails; a spool is given back only when all of it is stored. It may rest while clicks flood in, for so long and no longer.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redirector.click_sink import Sink, Unavailable, open_sink
from redirector.clicks import COLUMNS
from redirector.shipping import (
    FIRST_PART,
    FLOOD,
    HOLD_SECONDS,
    MANY,
    PART,
    PRESSING,
    PRESSING_SECONDS,
    Bell,
    Shipper,
    Shipping,
    _age_of,
    _next_part,
    may_rest,
)
from redirector.spool import Spool
from tests.redirector.databases import sqlite_database
from tests.redirector.record_data import ids, rows, stored

_TIME = COLUMNS.index("time")


def fill(folder: Path, name: str, numbers: Sequence[int], size: int = 4 << 20) -> None:
    spool = Spool.open(folder / f"clicks-{name}.spool", size)
    spool.append([msgspec.msgpack.encode(row) for row in rows(numbers)])
    spool.close()


def ship_all(shipper: Shipper) -> int:
    steps = 0
    while shipper.step():
        steps += 1
    return steps


@pytest.fixture
def sink(database: str) -> Iterator[Sink]:
    made = open_sink(database)
    yield made
    made.close()


def test_everything_is_stored_in_order_part_by_part(sink: Sink, database: str, tmp_path: Path) -> None:
    fill(tmp_path, "0", range(PART + 10))
    fill(tmp_path, "1", range(PART + 10, PART + 20))
    assert ship_all(Shipper(tmp_path, sink, tmp_path / "refused")) > 1
    assert stored(database) == ids(range(PART + 20))


def test_nothing_to_ship_is_said(sink: Sink, tmp_path: Path) -> None:
    shipper = Shipper(tmp_path, sink, tmp_path / "refused")
    assert not shipper.step()
    fill(tmp_path, "0", [])
    (tmp_path / "clicks-1.spool").write_bytes(b"")
    (tmp_path / "clicks-2.spool").write_bytes(b"TOC")
    assert not shipper.step()


def test_what_was_shipped_is_not_read_again(sink: Sink, database: str, tmp_path: Path) -> None:
    shipper = Shipper(tmp_path, sink, tmp_path / "refused")
    fill(tmp_path, "0", [1, 2])
    ship_all(shipper)
    fill(tmp_path, "0", [3])
    ship_all(Shipper(tmp_path, sink, tmp_path / "refused"))
    assert stored(database) == ids([1, 2, 3])


def test_a_shipper_that_ends_anywhere_is_followed_by_one_that_stores_the_rest_once(
    database: str, tmp_path: Path
) -> None:
    fill(tmp_path, "0", range(3 * PART))
    for steps in (1, 2, 1, 3, 2, 9):
        sink = open_sink(database)
        shipper = Shipper(tmp_path, sink, tmp_path / "refused")
        for _ in range(steps):
            shipper.step()
        sink.close()
    assert stored(database) == ids(range(3 * PART))


def test_a_database_that_fails_on_the_way_is_gone_on_with(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    sink = open_sink(database)
    shipper = Shipper(tmp_path, sink, tmp_path / "refused")
    fill(tmp_path, "0", range(2 * PART))
    assert shipper.step()
    other = sqlite3.connect(tmp_path / "toc.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        shipper.step()
    fill(tmp_path, "0", range(2 * PART, 2 * PART + 5))
    other.execute("ROLLBACK")
    other.close()
    ship_all(shipper)
    assert stored(database) == ids(range(2 * PART + 5))
    sink.close()


def test_an_odd_record_does_not_stop_those_behind_it(sink: Sink, database: str, tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "clicks-0.spool", 1 << 20)
    first, second = rows([1, 2])
    spool.append([msgspec.msgpack.encode(row) for row in (first, first[:-1], (None,) * len(first), second)])
    spool.close()
    ship_all(Shipper(tmp_path, sink, tmp_path / "refused"))
    assert stored(database) == ids([1, 2])
    assert len((tmp_path / "refused").read_text().splitlines()) == 2


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["write 0", "write 1", "ship", "new shipper", "new writer", "fail"]), max_size=30))
def test_any_order_of_writing_shipping_ending_and_failing(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("ship")
    database = sqlite_database(folder)
    sink = open_sink(database)
    shipper = Shipper(folder, sink, folder / "refused")
    spools = [Spool.open(folder / f"clicks-{number}.spool", 8192) for number in range(2)]
    written: tuple[list[int], list[int]] = ([], [])
    count = 0
    for event in [*events, "ship"]:
        if event.startswith("write"):
            number = int(event[-1])
            spools[number].append([msgspec.msgpack.encode(row) for row in rows([count, count + 1])])
            written[number].extend([count, count + 1])
            count += 2
        elif event == "ship":
            ship_all(shipper)
        elif event == "new shipper":
            shipper = Shipper(folder, sink, folder / "refused")
        elif event == "new writer":
            spools = [Spool.open(folder / f"clicks-{number}.spool", 8192) for number in range(2)]
        else:
            sink.close()  # whatever was open is rolled back
    found = stored(database)
    assert sorted(found) == ids(range(count))
    for numbers in written:
        assert [each for each in found if each in set(ids(numbers))] == ids(numbers)
    sink.close()


def fresh(count: int) -> list[bytes]:
    """Rows of clicks that came a moment ago."""
    now = int(time.time() * 1_000_000)
    return [msgspec.msgpack.encode((*row[:_TIME], now, *row[_TIME + 1 :])) for row in rows(range(count))]


@contextlib.contextmanager
def shipping(folder: Path, database: str) -> Iterator[socket.socket]:
    """The loop in a thread of its own; the recorder's end of its bell."""
    recorder, end = socket.socketpair()
    sink = open_sink(database)
    loop = Shipping(Shipper(folder, sink, folder / "refused"), Bell(end))
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.close()
        thread.join(30)
        sink.close()
        end.close()


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def append(folder: Path, count: int) -> None:
    spool = Spool.open(folder / "clicks-0.spool", 4 << 20)
    spool.append(fresh(count))
    spool.close()


def flood(bell: socket.socket, done: Callable[[], bool], byte: int = MANY) -> None:
    """Tell of many thousand clicks a second until it is done."""
    while not done():
        bell.send(bytes([byte]) * 10)
        time.sleep(0.01)


def test_a_bell_says_how_many_came_and_when_it_is_closed() -> None:
    recorder, end = socket.socketpair()
    bell = Bell(end)
    recorder.send(bytes([3]) + bytes([200]))
    assert bell.wait(5)
    bell.hear()
    assert (bell.rate > 0, bell.presses, bell.is_open) == (True, False, True)
    bell.hear()
    assert (bell.rate, bell.presses, bell.is_open) == (0.0, False, True)
    recorder.send(bytes([PRESSING]) + bytes([1]))
    bell.hear()
    assert bell.presses
    recorder.close()
    bell.hear()
    assert not bell.is_open
    end.close()


def test_after_a_flood_all_of_it_is_shipped(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    with shipping(tmp_path, database) as bell:
        append(tmp_path, PART)
        ended = time.monotonic() + 0.5
        flood(bell, lambda: time.monotonic() > ended)
        until(lambda: len(stored(database)) == PART)
    assert stored(database) == ids(range(PART))


@pytest.mark.parametrize("byte", [MANY, PRESSING])
def test_a_flood_that_does_not_end_is_shipped_too(tmp_path: Path, byte: int) -> None:
    database = sqlite_database(tmp_path)
    with shipping(tmp_path, database) as bell:
        append(tmp_path, PART)
        end = time.monotonic() + 60
        flood(bell, lambda: len(stored(database)) == PART or time.monotonic() > end, byte)
        assert stored(database) == ids(range(PART))


def test_it_rests_in_a_flood_alone_and_not_where_the_journal_fills_or_clicks_grow_old() -> None:
    assert may_rest(FLOOD + 1, False, 0.0)
    assert not may_rest(FLOOD, False, 0.0)
    assert not may_rest(FLOOD + 1, True, 0.0)
    assert not may_rest(FLOOD + 1, False, PRESSING_SECONDS)


def test_a_part_grows_with_what_waits_and_shrinks_where_a_commit_takes_long() -> None:
    sizes = [FIRST_PART]
    while sizes[-1] < PART:
        sizes.append(_next_part(sizes[-1], sizes[-1], 0.01))
    assert sizes == sorted(set(sizes))
    assert _next_part(PART, PART, HOLD_SECONDS * 2) == PART // 2
    assert _next_part(FIRST_PART, FIRST_PART, 60.0) == FIRST_PART
    assert _next_part(PART, 3, 0.01) == FIRST_PART


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_a_row_of_another_version_has_no_age(columns: int) -> None:
    assert _age_of(rows([1])[0][:columns], time.time()) == 0.0

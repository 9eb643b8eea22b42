"""Shipping spools into the database.

Invariants: what a spool holds is stored once and in order, whoever writes meanwhile, wherever the shipper ends or the
database fails; a spool is given back only when all of it is stored.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redirector.click_sink import Sink, Unavailable, open_sink
from redirector.shipping import PART, Shipper
from redirector.spool import Spool
from tests.redirector.databases import sqlite_database
from tests.redirector.record_data import ids, rows, stored


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

"""Writing clicks into the database.

Invariants: a commit that returned is durable, each click once; one that raised left nothing behind and can be made again;
an odd row stops no other row and is kept beside; what is wrong with the database is never taken for an odd row.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redirector.click_sink import Sink, Unavailable, commit, open_sink
from redirector.clicks import COLUMNS
from tests.redirector.databases import sqlite_database
from tests.redirector.record_data import ids, rows, stored

Row = tuple[object, ...]


def changed(row: Row, **values: object) -> Row:
    return tuple(values.get(column, value) for column, value in zip(COLUMNS, row, strict=True))


ODD: dict[str, Callable[[Row], Row]] = {
    "too many columns, from another version": lambda row: (*row, 1),
    "too few columns": lambda row: row[:-1],
    "no values at all": lambda _row: (),
    "a number that no column holds": lambda row: changed(row, level=1 << 70),
    "half of a surrogate pair": lambda row: changed(row, url="https://x.example/\ud800"),
    "nothing where something must be": lambda row: changed(row, url=None),
    "a list": lambda row: changed(row, host=["x"]),
}


@pytest.fixture
def sink(database: str) -> Iterator[Sink]:
    made = open_sink(database)
    yield made
    made.close()


def set_aside(refused: Path) -> list[dict]:
    return [json.loads(line) for line in refused.read_text().splitlines()] if refused.exists() else []


def test_rows_are_stored_in_order_and_each_id_once(sink: Sink, database: str, tmp_path: Path) -> None:
    refused = tmp_path / "refused"
    commit(sink, rows([3, 1, 2]), refused)
    commit(sink, [changed(rows([1])[0], host="other.example"), *rows([4, 4, 2, 5])], refused)
    assert stored(database) == ids([3, 1, 2, 4, 5])
    assert set_aside(refused) == []
    commit(sink, [], refused)


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_row_stands_aside_and_the_others_are_stored(
    sink: Sink, database: str, tmp_path: Path, kind: str
) -> None:
    made = rows(range(9))
    for place in (0, 4, 8):
        made[place] = ODD[kind](made[place])
    commit(sink, made, tmp_path / "refused")
    assert sorted(stored(database)) == ids([1, 2, 3, 5, 6, 7])
    found = set_aside(tmp_path / "refused")
    assert len(found) == 3
    assert all(each["error"] for each in found)
    commit(sink, rows([20]), tmp_path / "refused")
    assert ids([20])[0] in stored(database), "the sink goes on"


def test_a_row_with_a_nul_is_stored(sink: Sink, database: str, tmp_path: Path) -> None:
    """PostgreSQL's texts hold none; a user agent may."""
    commit(sink, [*rows([1]), changed(rows([2])[0], user_agent="a\0b")], tmp_path / "refused")
    assert stored(database) == ids([1, 2])
    assert set_aside(tmp_path / "refused") == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(["good", "good", *ODD]), max_size=24))
def test_whatever_is_odd_and_wherever_it_stands(tmp_path_factory: pytest.TempPathFactory, kinds: list[str]) -> None:
    folder = tmp_path_factory.mktemp("odd")
    database = sqlite_database(folder)
    sink = open_sink(database)
    made = [row if kind == "good" else ODD[kind](row) for kind, row in zip(kinds, rows(range(len(kinds))), strict=True)]
    commit(sink, made, folder / "refused")
    sink.close()
    good = [number for number, kind in enumerate(kinds) if kind == "good"]
    assert stored(database) == ids(good)
    assert len(set_aside(folder / "refused")) == len(kinds) - len(good)


@contextlib.contextmanager
def writer_holds(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextlib.contextmanager
def moved_away(path: Path) -> Iterator[None]:
    parts = [part for part in path.parent.iterdir() if part.name.startswith(path.name)]
    for part in parts:
        part.rename(part.with_name(f"away-{part.name}"))
    yield
    for part in parts:
        part.with_name(f"away-{part.name}").rename(part)


@contextlib.contextmanager
def overwritten(path: Path) -> Iterator[None]:
    with moved_away(path):
        path.write_bytes(b"this is no database, " * 500)
        yield
        path.unlink()


@contextlib.contextmanager
def without_table(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE clicks RENAME TO away")
    yield
    connection.execute("ALTER TABLE away RENAME TO clicks")
    connection.close()


@pytest.mark.parametrize("fault", [writer_holds, moved_away, overwritten, without_table])
def test_a_database_that_is_not_well_is_no_odd_row_and_takes_everything_later(tmp_path: Path, fault: Callable) -> None:
    database, refused = sqlite_database(tmp_path), tmp_path / "refused"
    sink = open_sink(database)
    with fault(tmp_path / "toc.db"):
        for _ in range(2):
            with pytest.raises(Unavailable):
                commit(sink, rows([1, 2]), refused)
    commit(sink, rows([1, 2]), refused)
    assert stored(database) == ids([1, 2])
    assert set_aside(refused) == []
    sink.close()


def test_a_server_that_cannot_be_reached_is_not_well(tmp_path: Path, unused_tcp_port: int) -> None:
    sink = open_sink(f"postgresql://toc@127.0.0.1:{unused_tcp_port}/toc")
    with pytest.raises(Unavailable):
        commit(sink, rows([1]), tmp_path / "refused")
    sink.close()


def test_odd_rows_that_cannot_be_set_aside_are_not_said_to_be_kept(tmp_path: Path) -> None:
    database = sqlite_database(tmp_path)
    sink = open_sink(database)
    with pytest.raises(OSError, match="refused"):
        commit(sink, [rows([1])[0][:-1]], tmp_path / "no such folder" / "refused")
    sink.close()

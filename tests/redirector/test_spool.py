"""The spool.

Invariants: what `append` returned for is read again, in order, whatever happens to the bytes behind it; damage ends the
reading and never invents or changes a record; what was shipped is not read again; several holders of one file lose nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.spool import HEADER, MAX_PAYLOAD, Spool, SpoolFull, empty, generation_of, read

SIZE = 4096


def contents(path: Path) -> list[bytes]:
    handle = os.open(path, os.O_RDWR)
    try:
        generation = generation_of(handle)
        return [] if generation is None else [payload for payload, _ in read(handle, generation)]
    finally:
        os.close(handle)


def ship(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR)
    try:
        generation = generation_of(handle)
        places = [place for _, place in read(handle, generation)]
        return empty(handle, generation, places[-1] if places else HEADER)
    finally:
        os.close(handle)


@given(st.lists(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=4), max_size=8))
def test_what_was_kept_is_read_in_order_also_by_a_later_process(tmp_path_factory, batches: list[list[bytes]]) -> None:
    path = tmp_path_factory.mktemp("spool") / "s"
    for batch in batches:
        spool = Spool.open(path, SIZE)
        spool.append(batch)
        spool.close()
    Spool.open(path, SIZE).close()
    assert contents(path) == [payload for batch in batches for payload in batch]


def test_its_space_is_taken_at_the_start(tmp_path: Path) -> None:
    Spool.open(tmp_path / "s", 1 << 20).close()
    assert (tmp_path / "s").stat().st_blocks * 512 >= 1 << 20


def test_a_full_spool_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s", SIZE)
    kept = []
    with contextlib.suppress(SpoolFull):
        while len(kept) < SIZE:
            spool.append([b"x" * 100])
            kept.append(b"x" * 100)
    assert contents(tmp_path / "s") == kept
    assert len(kept) == (SIZE - HEADER - 8) // 108
    ship(tmp_path / "s")
    spool.append([b"room again"])
    assert contents(tmp_path / "s") == [b"room again"]
    spool.close()


def test_a_payload_that_could_not_be_read_again_is_not_taken(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s", 4 * MAX_PAYLOAD)
    with pytest.raises(SpoolFull):
        spool.append([b"x" * (MAX_PAYLOAD + 1)])
    spool.close()


@pytest.mark.parametrize("damage", ["cut", "zero", "flip"])
def test_damage_at_every_offset_keeps_what_stands_before_it(tmp_path: Path, damage: str) -> None:
    payloads = [b"first", b"second record", b"third", b"fourth, the last"]
    spool = Spool.open(tmp_path / "s", 256)
    spool.append(payloads[:2])
    spool.append(payloads[2:])
    spool.close()
    whole = (tmp_path / "s").read_bytes()
    ends = []
    end = HEADER
    for payload in payloads:
        end += 8 + len(payload)
        ends.append(end)
    for offset in range(HEADER, end):
        broken = tmp_path / "broken"
        if damage == "cut":
            broken.write_bytes(whole[:offset])
        elif damage == "zero":
            broken.write_bytes(whole[:offset] + bytes(len(whole) - offset))
        else:
            broken.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x41]) + whole[offset + 1 :])
        before = [payload for payload, at in zip(payloads, ends, strict=True) if at <= offset]
        found = contents(broken)
        assert found == before, f"{damage} at {offset}"
        again = Spool.open(broken, 256)  # the next worker goes on behind what can be read
        again.append([b"new"])
        again.close()
        assert contents(broken) == [*before, b"new"], f"{damage} at {offset}"


def test_a_damaged_head_is_set_aside_and_not_written_over(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s", SIZE)
    spool.append([b"precious"])
    spool.close()
    raw = (tmp_path / "s").read_bytes()
    (tmp_path / "s").write_bytes(b"?" + raw[1:])
    Spool.open(tmp_path / "s", SIZE).close()
    assert contents(tmp_path / "s") == []
    assert b"precious" in (tmp_path / "broken-s").read_bytes()


def test_shipped_records_do_not_come_back_behind_fewer_new_ones(tmp_path: Path) -> None:
    """The old frames still lie in the file, at the very places where a reader goes on."""
    spool = Spool.open(tmp_path / "s", SIZE)
    spool.append([b"same size", b"same size too"])
    assert ship(tmp_path / "s")
    assert contents(tmp_path / "s") == []
    handle = os.open(tmp_path / "s", os.O_RDWR)
    os.pwrite(handle, (tmp_path / "s").read_bytes()[HEADER + 8 :], HEADER + 8)
    os.close(handle)
    spool.append([b"one of 9."])
    assert contents(tmp_path / "s") == [b"one of 9."]
    spool.close()


def test_a_record_that_comes_while_others_are_shipped_stays(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "s", SIZE)
    spool.append([b"a"])
    handle = os.open(tmp_path / "s", os.O_RDWR)
    generation = generation_of(handle)
    (_, place) = list(read(handle, generation))[-1]
    spool.append([b"b"])
    assert not empty(handle, generation, place)
    assert contents(tmp_path / "s") == [b"a", b"b"]
    os.close(handle)
    spool.close()


def test_two_holders_do_not_write_over_each_other_whoever_ships_between(tmp_path: Path) -> None:
    old, new = (Spool.open(tmp_path / "s", SIZE) for _ in range(2))
    old.append([b"1"])
    new.append([b"2"])
    old.append([b"3"])
    assert contents(tmp_path / "s") == [b"1", b"2", b"3"]
    ship(tmp_path / "s")
    new.append([b"4"])
    old.append([b"5", b"6"])
    assert contents(tmp_path / "s") == [b"4", b"5", b"6"]
    old.close()
    new.close()


def _write(path: Path, name: bytes, count: int) -> None:
    spool = Spool.open(path, 1 << 20)
    for number in range(count):
        spool.append([b"%s-%d" % (name, number)])


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path / "s", name, 60)) for name in (b"a", b"b", b"c")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    found = contents(tmp_path / "s")
    assert sorted(found) == sorted(b"%s-%d" % (name, n) for name in (b"a", b"b", b"c") for n in range(60))
    for name in (b"a", b"b", b"c"):
        own = [payload for payload in found if payload.startswith(name)]
        assert own == [b"%s-%d" % (name, n) for n in range(60)]

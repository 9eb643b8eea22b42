"""The keyset. Invariants: the file round-trips; a change loses nothing; a broken file never replaces a good keyset."""

from __future__ import annotations

import multiprocessing
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toc import keys
from toc.errors import KeysetError, KeyTooYoung
from toc.keys import State

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def _keyset() -> keys.Keyset:
    return keys.create("d-1", "default", ("https://click.example.com",), random=os.urandom, now=NOW)


def test_the_file_round_trips(tmp_path: Path) -> None:
    keyset = keys.add(_keyset(), random=os.urandom, now=NOW)
    keys.save(tmp_path / "k.json", keyset)
    assert keys.load(tmp_path / "k.json") == keyset
    assert (tmp_path / "k.json").stat().st_mode & 0o777 == 0o600
    assert keys.decode(keys.encode(keyset)) == keyset


def test_a_new_key_opens_but_does_not_seal() -> None:
    keyset = keys.add(_keyset(), random=os.urandom, now=NOW)
    assert [key.state for key in keyset.keys] == [State.PRIMARY, State.ENABLED]
    assert keyset.usable(keyset.keys[1].id) == keyset.keys[1]


def test_promotion_keeps_the_former_key_opening() -> None:
    keyset = keys.add(_keyset(), random=os.urandom, now=NOW)
    old, new = keyset.keys
    keyset = keys.promote(keyset, new.id, now=NOW + timedelta(seconds=60))
    assert keyset.primary.id == new.id
    assert keyset.usable(old.id) is not None


def test_a_young_key_is_not_promoted_unless_asked_for() -> None:
    keyset = keys.add(_keyset(), random=os.urandom, now=NOW)
    with pytest.raises(KeyTooYoung, match="59 s old"):
        keys.promote(keyset, keyset.keys[1].id, now=NOW + timedelta(seconds=59))
    assert keys.promote(keyset, keyset.keys[1].id, now=NOW, at_once=True).primary.id == keyset.keys[1].id


def test_a_disabled_key_neither_opens_nor_seals_and_the_primary_cannot_be_disabled() -> None:
    keyset = keys.add(_keyset(), random=os.urandom, now=NOW)
    disabled = keys.disable(keyset, keyset.keys[1].id)
    assert disabled.usable(keyset.keys[1].id) is None
    with pytest.raises(KeysetError, match="disabled"):
        keys.promote(disabled, keyset.keys[1].id, now=NOW + timedelta(days=1))
    with pytest.raises(KeysetError, match="promote another"):
        keys.disable(keyset, keyset.keys[0].id)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o660, 0o666, 0o700])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.json"
    keys.save(path, _keyset())
    path.chmod(mode)
    with pytest.raises(KeysetError, match="chmod 600"):
        keys.load(path)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o400])
def test_safe_modes_are_taken_and_kept(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "k.json"
    keys.save(path, _keyset())
    path.chmod(mode)
    keys.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysetError, match=r"k\.json is missing"):
        keys.load(tmp_path / "k.json")


def test_every_cut_of_the_file_is_refused() -> None:
    raw = keys.encode(_keyset())
    for end in range(len(raw) - 2):
        with pytest.raises(KeysetError):
            keys.decode(raw[:end])


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"primary"', '"enabled"', "exactly one primary"),
        ('"deployment": "d-1"', '"deployment": "D 1"', "deployment"),
        ("https://click.example.com", "ftp://click.example.com", "public URL"),
        ("https://click.example.com", "https://u@click.example.com", "public URL"),
        ("https://click.example.com", "https://click.example.com/?q", "public URL"),
        ('"tenant"', '"tenent"', "tenant"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(old: str, new: str, says: str) -> None:
    with pytest.raises(KeysetError, match=says):
        keys.decode(keys.encode(_keyset()).decode().replace(old, new).encode())


def test_a_broken_file_keeps_the_last_good_keyset(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    keys.save(path, _keyset())
    file = keys.KeysetFile(path)
    good = file.current
    path.write_bytes(b"{")
    assert not file.refresh(10.0)
    assert file.current == good
    assert "not a keyset" in (file.error or "")
    keys.save(path, keys.add(good, random=os.urandom, now=NOW))
    assert file.refresh(11.1)
    assert file.error is None
    assert len(file.current.keys) == 2


def test_the_file_is_looked_at_once_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    keys.save(path, _keyset())
    file = keys.KeysetFile(path)
    file.refresh(10.0)
    keys.change(path, lambda old: keys.add(old, random=os.urandom, now=NOW))
    assert not file.refresh(10.9)
    assert file.refresh(11.0)


def _add_five(path: Path) -> None:
    for _ in range(5):
        keys.change(path, lambda old: keys.add(old, random=os.urandom, now=NOW))


def test_changes_of_several_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "k.json"
    keys.save(path, _keyset())
    processes = [multiprocessing.get_context("fork").Process(target=_add_five, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(keys.load(path).keys) == 21
    assert not list(tmp_path.glob(".k.json.*"))

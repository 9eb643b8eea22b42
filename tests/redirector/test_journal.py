"""The journal keeps in order what was acknowledged, never writes over what was not shipped, and tells when all is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from redirector import journal
from redirector.journal import NAMES, TURN, Journal, Marks, is_shipped
from redirector.spool import HEADER, SpoolFull, empty, generation_of, read

SIZE = TURN + (1 << 20)


def held(folder: Path) -> list[bytes]:
    """What lies in both files, the older one first."""
    parts = []
    for name in NAMES:
        with (folder / name).open("rb") as file:
            generation = generation_of(file.fileno())
            parts.append((generation, [payload for payload, _ in read(file.fileno(), generation)]))
    return [payload for _, part in sorted(parts) for payload in part]


def ship(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as file:
        generation = generation_of(file.fileno())
        places = [HEADER, *(place for _, place in read(file.fileno(), generation))]
        assert empty(file.fileno(), generation, places[-1])


def test_what_was_appended_is_there_in_order_also_across_a_turn_and_a_restart(tmp_path: Path) -> None:
    payloads = [bytes([number]) * 100_000 for number in range(1, 60)]
    keeper = Journal(tmp_path, SIZE)
    for payload in payloads[:30]:
        keeper.append([payload])
    keeper.close()
    keeper = Journal(tmp_path, SIZE)
    for payload in payloads[30:]:
        keeper.append([payload])
    keeper.close()
    assert held(tmp_path) == payloads


def test_the_files_take_turns_as_long_as_they_are_shipped(tmp_path: Path) -> None:
    keeper = Journal(tmp_path, SIZE)
    big = b"x" * 900_000
    for turn in range(6):
        for _ in range(5):
            keeper.append([big])
        keeper.append([b"end %d" % turn])
        assert held(tmp_path)[-1] == b"end %d" % turn
        older = min(NAMES, key=lambda name: _generation(tmp_path / name) if _used(tmp_path / name) else 1 << 60)
        ship(tmp_path, older)
    keeper.close()


def _generation(path: Path) -> int:
    with path.open("rb") as file:
        return generation_of(file.fileno())


def _used(path: Path) -> bool:
    with path.open("rb") as file:
        return next(read(file.fileno(), generation_of(file.fileno())), None) is not None


def test_full_on_both_sides_is_said_and_nothing_is_written_over(tmp_path: Path) -> None:
    keeper = Journal(tmp_path, SIZE)
    kept: list[bytes] = []
    with pytest.raises(SpoolFull):
        _fill(keeper, kept)
    assert len(kept) > 2 * TURN // 300_000
    assert held(tmp_path) == kept
    keeper.close()


def _fill(keeper: Journal, kept: list[bytes]) -> None:
    for number in range(100):
        payload = bytes([number]) * 300_000
        keeper.append([payload])
        kept.append(payload)


async def test_settled_waits_for_what_was_not_shipped_and_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Journal(tmp_path, SIZE)
    assert is_shipped(tmp_path)
    keeper.append([b"one", b"two"])
    assert not is_shipped(tmp_path)
    monkeypatch.setattr(journal, "SETTLE_SECONDS", 0.02)
    await journal.settled(tmp_path)  # a shipper that is away is not waited for
    path = tmp_path / NAMES[0]
    with path.open("rb") as file:
        places = [place for _, place in read(file.fileno(), generation_of(file.fileno()))]
    Marks().write(path, _generation(path), places[0])
    assert not is_shipped(tmp_path), "one of two"
    Marks().write(path, _generation(path), places[1])
    assert is_shipped(tmp_path)
    keeper.append([b"three"])
    assert not is_shipped(tmp_path)
    ship(tmp_path, NAMES[0])
    assert is_shipped(tmp_path), "an old mark means nothing under a new generation"
    keeper.close()


def test_a_folder_without_a_journal_has_nothing_to_wait_for(tmp_path: Path) -> None:
    assert is_shipped(tmp_path)

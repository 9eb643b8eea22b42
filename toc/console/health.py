"""How much waits in the spools on this machine. Reads the files; takes no lock and changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from redirector.journal import shipped_up_to
from redirector.spool import generation_of, read

MOST = 10_000
"""Records that are counted; more are shown as "more than"."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """`clicks` and `receipts` that the database has not taken yet; `refused`: rows that it never will."""

    clicks: int
    receipts: int
    refused: bool

    @property
    def calm(self) -> bool:
        return not (self.clicks or self.receipts or self.refused)


def waiting(data_dir: Path) -> Waiting:
    folder = data_dir / "spool"
    spools = sorted(folder.glob("clicks-*.spool"))
    receipts = [path for path in folder.glob("receipts/*") if not path.name.startswith(".")]
    return Waiting(sum(map(_count, spools)), len(receipts), (folder / "refused.jsonl").exists())


def _count(path: Path) -> int:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        generation = generation_of(handle)
        if generation is None:
            return 0
        place = shipped_up_to(path, generation)
        return sum(1 for _ in islice(read(handle, generation, place), MOST))
    finally:
        os.close(handle)

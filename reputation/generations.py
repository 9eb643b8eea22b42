"""Where the generations of the lists lie on disk. Knows names, pointers and state; knows no feed and no network.

directory/seed                      16 random bytes, the salt of every index here
directory/<name>/<generation>.idx   one generation; a generation is letters and digits only
directory/<name>/current            which one is in use: replaced by rename
directory/<name>/state.json         last attempt, last success, last error, ETag, Last-Modified
"""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from reputation.index import Index
from toc.errors import ListError

KEPT = 3
"""Generations that stay on disk: the current one, and two for readers that still hold them and for replay."""


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered of a list between refreshes. Times in UTC; empty strings where nothing is known."""

    tried_at: datetime | None = None
    success_at: datetime | None = None
    error: str = ""
    why: str = ""
    etag: str = ""
    last_modified: str = ""
    failures: int = 0


def stamp(folder: Path) -> tuple[int, int] | None:
    """Changes whenever the pointer does: one stat. None where nothing was ever loaded."""
    try:
        found = os.stat(folder / "current")
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def open_current(folder: Path) -> Index:
    """The generation in use. Raises ListError where there is none, or a broken one."""
    try:
        name = (folder / "current").read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise ListError(f"{folder.name} was never loaded", why="never_loaded") from None
    if not name.isalnum():
        raise ListError(f"the pointer of {folder.name} is damaged", why="pointer")
    return Index.open(folder / f"{name}.idx")


def point_to(folder: Path, generation: str) -> None:
    """Make `generation` the current one, and sweep those that are older than the last `KEPT`."""
    replace(folder / "current", generation.encode("ascii"))
    found = sorted(folder.glob("*.idx"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for old in found[KEPT:]:
        if old.stem != generation:
            old.unlink(missing_ok=True)


def read_state(folder: Path) -> State:
    """What is remembered; nothing where the file is missing or damaged: then the list is simply fetched again."""
    try:
        return msgspec.json.decode((folder / "state.json").read_bytes(), type=State)
    except (OSError, msgspec.DecodeError):
        return State()


def write_state(folder: Path, state: State) -> None:
    replace(folder / "state.json", msgspec.json.encode(state))


def replace(path: Path, content: bytes) -> None:
    """Write `content` so that a reader sees the old file or the new one, also after a crash."""
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with open(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(aside, 0o644)  # mkstemp's 0600 would hide the pointer from workers under another user
    os.replace(aside, path)


def read_seed(directory: Path) -> bytes:
    """The salt of the installation's lists; made at the first call. Raises OSError."""
    path = directory / "seed"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".seed-", dir=directory) as aside:
            fresh = Path(aside) / "seed"
            fresh.write_bytes(os.urandom(16))
            with suppress(FileExistsError):  # another thread or process was first
                os.link(fresh, path)
    return path.read_bytes()

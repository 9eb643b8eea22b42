"""A settings file, a keyset and what a process knows from them, in a temporary folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from reputation.breaker import LiveSource
from toc import keys, snapshot, startup
from toc.knowledge import Knowledge
from toc.startup import Startup

INSTALLED = datetime(2026, 1, 1, tzinfo=UTC)


def installed(folder: Path, settings: str = "") -> Startup:
    """As ``toc init`` leaves it, two months old, with an empty set of objects."""
    keyset = keys.create("d-test", "default", ("https://links.example",), random=os.urandom, now=INSTALLED)
    keys.save(folder / "keyset.json", keyset)
    path = folder / "toc.toml"
    path.write_text('[service]\npublic_url = "https://links.example"\n' + settings)
    snapshot.write(folder, snapshot.Snapshot(counters={}))
    return startup.read(path, {})


def knowledge(folder: Path, settings: str = "", live: Sequence[LiveSource] = ()) -> Knowledge:
    return Knowledge(installed(folder, settings), live=live)

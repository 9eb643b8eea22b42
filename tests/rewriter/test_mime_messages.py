"""Broken and hostile MIME.

Invariant: whatever a mail client could show of a message, its links are ours: under every reading that one could take
(fixtures/mime_messages.jsonl, one reason a row). A second pass changes nothing, and restoring gives the bytes back.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewriter.headers import remove_fields
from rewriter.message import rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome
from rewriter.restore import restore_message
from tests.reversible import open_link, open_restore, protect, seal_restore

FIXTURE = Path(__file__).parents[2] / "fixtures" / "mime_messages.jsonl"


def rows() -> list[dict]:
    with FIXTURE.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["id"])
def test_a_message_is_safe_under_every_reading(row: dict) -> None:
    raw = row["message"].encode("latin-1")
    done = rewrite_message(raw, protect, Options(), seal_restore)
    assert sorted(item.url for item in done.rows if item.outcome is Outcome.REWRITTEN) == row["links"], row["why"]
    assert done.complete
    assert "note" not in row or row["note"] in done.notes
    plain = remove_fields(done.message, {"toc-restore"})
    assert rewrite_message(plain, protect, Options()).message == plain
    assert restore_message(done.message, open_link, open_restore) == raw

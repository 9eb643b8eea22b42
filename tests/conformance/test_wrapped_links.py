"""Other vendors' wrapped links open to what their makers' own decoders say.

Invariant: the target equals the expected one, serialised; in running text each wrapper gives way to its target and every
other character stays. Rows that ask for more unquoting than the vendor's own encoding are not ours.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rewriter.edit import Edit, apply
from rewriter.text import find
from toc.unwrap import unwrap
from toc.url import serialise

CORPUS = Path(os.environ.get("TOC_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
TABLE = CORPUS / "wrapped_links" / "cases.jsonl"

pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="the corpus is not beside the checkout (TOC_CORPUS)")


def rows(kind: str) -> list[dict]:
    with TABLE.open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["kind"] == kind and not row.get("unquote")]


def test_single_links() -> None:
    cases = rows("unwrap")
    assert len(cases) > 10
    for row in cases:
        spelt = row["input"] if row["input"].startswith("http") else f"https://{row['input']}"
        want = serialise(row["expected"]) if row["expected"] else None
        assert unwrap(spelt).target == want, row["id"]


def test_links_in_running_text() -> None:
    cases = rows("unwrap_text")
    assert cases
    for row in cases:
        opened = [(item, unwrap(item.url)) for item in find(row["input"])]
        edits = [Edit(item.start, item.end, inner.target) for item, inner in opened if inner.layers and inner.target]
        assert apply(row["input"], edits) == row["expected"], row["id"]

"""Where a URL ends in Japanese, Chinese and Korean text: every row of the table holds, spelling for spelling."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rewriter.text import find

CORPUS = Path(os.environ.get("TOC_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
TABLE = CORPUS / "cjk_boundary" / "cases.jsonl"

pytestmark = pytest.mark.skipif(not TABLE.is_file(), reason="the corpus is not beside the checkout (TOC_CORPUS)")


def test_every_row_of_the_table_holds() -> None:
    with TABLE.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    wrong = {
        row["id"]: found for row in rows if (found := [item.text for item in find(row["input"])]) != row["expected"]
    }
    assert wrong == {}
    assert len(rows) > 200

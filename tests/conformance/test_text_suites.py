"""Suites of other linkifiers, by our rules.

Invariant: for every row with http, https or www., the ordered targets of our links are the suite's, or the row stands in
fixtures/deviations.jsonl with the reason why ours differ. A row of that file whose deviation is gone is an error too.
Undoing the edits gives the input back.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from rewriter.edit import apply, invert
from rewriter.options import Bare, Options
from rewriter.text import rewrite_text
from toc.errors import BadUrl
from toc.link import Fate, Link, Sealed
from toc.url import parse, serialise

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("TOC_CORPUS", ROOT.parent / "shared" / "corpus"))
SUITES = ("linkify_it", "cmark_gfm_autolink", "django_urlize", "twitter_text", "cjk_issue_cases")
OURS = re.compile(r"https?:/|www\.", re.IGNORECASE)
WEB = re.compile(r"https?://|www\.", re.IGNORECASE)

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not beside the checkout (TOC_CORPUS)")


def rows(suite: str) -> list[dict]:
    with (CORPUS / suite / "cases.jsonl").open(encoding="utf-8") as lines:
        return [row for row in map(json.loads, lines) if row["kind"] != "url_valid" and OURS.search(row["input"])]


def deviations() -> set[str]:
    with (ROOT / "fixtures" / "deviations.jsonl").open(encoding="utf-8") as lines:
        return {json.loads(line)["id"] for line in lines}


def targets(text: str) -> list[str]:
    seen: list[str] = []

    def protect(link: Link) -> Fate:
        seen.append(link.url)
        return Sealed(f"https://links.example/u/{parse(link.url).host}/1abcx")

    result = rewrite_text(text, part="1", protect=protect, options=Options(bare=Bare.OFF))
    assert apply(apply(text, result.edits), invert(text, result.edits)) == text
    return seen


def expected(row: dict) -> list[str]:
    found = []
    for spelt in row["expected"]:
        if WEB.match(spelt):
            try:
                found.append(serialise(spelt if spelt[:4].lower() == "http" else f"http://{spelt}"))
            except BadUrl:
                found.append(spelt)
    return found


def agrees(row: dict) -> bool:
    ours, theirs = targets(row["input"]), expected(row)
    return ours[:1] == theirs[:1] if row["kind"] == "first_url" else ours == theirs


@pytest.mark.parametrize("suite", SUITES)
def test_targets_are_the_suites_or_the_row_has_a_reason(suite: str) -> None:
    cases = rows(suite)
    assert cases
    differing = {row["id"] for row in cases if not agrees(row)}
    assert differing == {name for name in deviations() if name.startswith(suite + "-")}

"""Damage that other link rewriters did, and the HTML of published mail templates.

Invariants: the links that an independent parser sees are found, each with its exact target; nothing else changes; a second
pass changes nothing; the edits undone give the source back.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selectolax.lexbor import LexborHTMLParser

from rewriter.edit import apply, invert
from rewriter.html import rewrite_html
from rewriter.message import rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome
from rewriter.text import rewrite_text
from tests.reversible import damage, open_link, protect
from toc.errors import BadUrl
from toc.url import parse


def test_what_other_rewriters_damaged(corpus: Path) -> None:
    failures = []
    for line in (corpus / "rewriter_regressions" / "cases.jsonl").read_text("utf-8").split("\n"):
        if not line:
            continue
        row = json.loads(line)
        source = row["input"]
        if row["kind"] == "mime_rewrite":
            rows = rewrite_message(source.encode(), protect, Options()).rows
        elif row["kind"] == "plain_rewrite":
            rows = rewrite_text(source, part="1", protect=protect, options=Options()).rows
        else:
            rows = rewrite_html(source, part="1", protect=protect, options=Options()).rows
        targets = [open_link(each.link) for each in rows if each.link]
        if row["kind"] == "html_rewrite_token":
            expected = [parse(row["url"]).href] if is_url(row["url"]) else []
        else:
            expected = [parse(url).href for url in row["expected"]]
        if targets != expected:
            failures.append(f"{row['id']}: {targets}, not {expected}: {row['note']}")
    assert not failures, "\n".join(failures)


def is_url(text: str) -> bool:
    try:
        parse(text)
    except BadUrl:
        return False
    return True


def templates(corpus: Path) -> list[Path]:
    return sorted((corpus / "email_templates").glob("*.html"))


def test_every_template_is_rewritten_whole_and_comes_back(corpus: Path) -> None:
    failures = []
    second_judge = 0
    for path in templates(corpus):
        source = path.read_text("utf-8", "surrogateescape")
        result = rewrite_html(source, part="1", protect=protect, options=Options())
        output = apply(source, result.edits)
        second_judge += "second_judge" in result.notes
        if not result.sound:
            failures.append(f"{path.name}: not proven")
        if apply(output, invert(source, result.edits)) != source:
            failures.append(f"{path.name}: does not come back")
        if apply(output, rewrite_html(output, part="1", protect=protect, options=Options()).edits) != output:
            failures.append(f"{path.name}: a second pass changes it")
        if found := damage(source, output):
            failures.append(f"{path.name}: {found}")
        if missing := reference(source) - {row.url for row in result.rows}:
            failures.append(f"{path.name}: not in the receipt: {missing}")
        if reference(output) and not all(open_link(url) for url in reference(output)):
            failures.append(f"{path.name}: a foreign link is left")
        if any(row.outcome is Outcome.NEUTRALISED for row in result.rows if row.url.startswith("http")):
            failures.append(f"{path.name}: a web link was neutralised")
    assert not failures, "\n".join(failures)
    assert second_judge == 0
    assert len(templates(corpus)) >= 60


def reference(source: str) -> set[str]:
    """http(s) targets of anchors as lexbor sees them, serialised."""
    found = set()
    for node in LexborHTMLParser(source).css("a[href], area[href]"):
        try:
            found.add(parse(node.attributes["href"] or "").href)
        except BadUrl:
            continue
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "<a",
        "<!--",
        "<a href=",
        "\ufffe",
        "<!--[if x]><a href=x>" * 5000,
        "<svg><style><a href=http://x.example/>",
    ],
)
def test_fragments_do_not_fail(text: str) -> None:
    rewrite_html(text, part="1", protect=protect, options=Options())

"""The links of 2,156 mails as an independent HTML5 parser sees them: each stands in our receipt, and its outcome is counted.

The reference does not look inside conditional comments; we do, so ours may be more.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections import Counter
from pathlib import Path

from rewriter.message import rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome, Row
from tests.reversible import protect
from toc.errors import BadUrl
from toc.link import Kind
from toc.url import serialise

NAVIGABLE = {("a", "href"), ("area", "href"), ("form", "action")}


def reference(corpus: Path) -> dict[str, list[str]]:
    """File → http(s) targets, as a browser serialises them."""
    found: dict[str, list[str]] = {}
    for path in sorted((corpus / "mail_share").glob("reference_links*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                spelt = [value for _, tag, name, value in row["links"] if (tag, name) in NAVIGABLE]
                found[row["file"]] = [url for url in map(absolute, spelt) if url.startswith(("http:", "https:"))]
    return found


def absolute(value: str) -> str:
    try:
        return serialise(value)
    except BadUrl:
        return ""


def is_web_link(row: Row) -> bool:
    """Outside running text; a frame is none (it is neutralised by contract), nor what no browser takes for a URL."""
    return row.kind not in (Kind.TEXT, Kind.FRAME) and absolute(row.url).startswith(("http:", "https:"))


def test_every_reference_link_is_in_the_receipt(corpus: Path) -> None:
    expected = reference(corpus)
    outcomes: Counter[str] = Counter()
    missing: list[str] = []
    broken: list[str] = []
    parts = judged_twice = 0
    for archive in sorted((corpus / "mail_share").glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                wanted = expected.get(member.name.lstrip("./"), [])
                if file is None or not wanted:
                    continue
                done = rewrite_message(file.read(), protect, Options())
                parts += 1
                judged_twice += "second_judge" in done.notes
                seen = {row.url for row in done.rows}
                missing += [f"{member.name}: {url}" for url in wanted if url not in seen]
                outcomes.update(row.outcome for row in done.rows if is_web_link(row))
                broken += [
                    f"{member.name}: {row.url}" for row in done.rows if row.reason == "own_invalid" and row.kind == "a"
                ]
    assert not missing, "\n".join(missing)
    assert not broken, "\n".join(broken)
    links = outcomes.total() - outcomes[Outcome.NOT_COVERABLE]
    assert sum(map(len, expected.values())) > 2_600
    assert outcomes[Outcome.NEUTRALISED] <= links * 0.0005, outcomes
    assert outcomes[Outcome.KEPT] <= links * 0.005, outcomes
    assert judged_twice <= parts * 0.005, f"{judged_twice} of {parts}"

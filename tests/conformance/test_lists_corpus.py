"""Lists and indicators that others made: STIX patterns, MISP warning lists, objects of Trend Micro's consoles."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reputation.formats import parse
from reputation.formats_stix import values
from reputation.forms import Reading
from reputation.index import Entry, Index
from reputation.index_build import build
from toc.errors import BadUrl
from toc.url import parse as parse_url

CORPUS = Path(os.environ.get("TOC_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout (TOC_CORPUS)")


def rows(folder: str) -> list[dict]:
    path = CORPUS / folder / "cases.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


STIX = rows("stix")


@pytest.mark.parametrize("row", [row for row in STIX if isinstance(row["expected"], dict)], ids=lambda row: row["id"])
def test_urls_and_domains_of_a_pattern(row):
    found = values(row["input"])
    assert [value for kind, value in found if kind == "url"] == row["expected"]["urls"]
    assert [value for kind, value in found if kind == "host"] == row["expected"]["domains"]


@pytest.mark.parametrize("row", [row for row in STIX if row["expected"] is False], ids=lambda row: row["id"])
def test_a_broken_pattern_gives_nothing(row):
    assert values(row["input"]) == []


def test_indicators_as_a_bundle():
    objects = [row["object"] for row in STIX if row["kind"] == "stix_indicator"]
    wanted = {domain for row in STIX if row["kind"] == "stix_indicator" for domain in row["expected"]["domains"]}
    found = parse("stix", json.dumps({"type": "bundle", "objects": objects}).encode())
    assert {entry.value for entry in found if entry.kind == "host"} == wanted


LISTS = sorted((CORPUS / "lists").glob("misp_*.txt.gz"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_every_host_of_a_list_is_found_under_its_own_name(path, tmp_path):
    raw = gzip.decompress(path.read_bytes()).splitlines()[:3000]
    entries = [entry for entry in parse("domain_list", b"\n".join(raw)) if entry.kind != "bad"]
    report = build(
        entries, tmp_path / "x.idx", generation="g", seed=bytes(16), built_at=datetime(2026, 1, 1, tzinfo=UTC)
    )
    index = Index.open(tmp_path / "x.idx")
    assert report.entries + report.duplicates + report.rejected == len(entries)
    missing = []
    for entry in entries:
        host = entry.value.removeprefix("*.")
        host = f"[{host}]" if ":" in host else host
        try:
            reading = Reading(parse_url(f"http://www.{host}/" if entry.kind == "host" else f"http://{host}/"))
        except BadUrl:
            continue  # what no browser would visit cannot be asked for
        if not index.find(reading):
            missing.append(entry.value)
    assert missing == []


OBJECTS = [row for row in rows("suspicious_objects") if "match" in (row["expected"] or {})]


@pytest.mark.parametrize("row", OBJECTS, ids=lambda row: row["id"])
def test_a_suspicious_url_matches_with_and_without_its_default_port(row, tmp_path):
    entry = Entry("url", row["object"]["value"], 1)
    build([entry], tmp_path / "x.idx", generation="g", seed=bytes(16), built_at=datetime(2026, 1, 1, tzinfo=UTC))
    index = Index.open(tmp_path / "x.idx")
    for url in row["expected"]["match"]:
        assert [hit.form for hit in index.find(Reading(parse_url(url)))] == ["url"]

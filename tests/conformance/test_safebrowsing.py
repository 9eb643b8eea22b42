"""Safe Browsing's own cases (Google's Go client) on our canonical form, expressions, hosts and addresses: all hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reputation.forms import canonical, canonical_parts, expressions, ipv4, lookup_hosts
from toc.errors import BadUrl

CORPUS = Path(os.environ.get("TOC_CORPUS", Path(__file__).parents[3] / "shared" / "corpus")) / "google_safebrowsing"
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout (TOC_CORPUS)")


def rows() -> list[dict]:
    path = CORPUS / "cases.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


FUNCTIONS = {
    "gsb_canonical_url": canonical,
    "gsb_canonical_host": lambda url: canonical_parts(url).host,
    "gsb_parse_ip": lambda text: ipv4(text.decode("latin-1")),
    "gsb_lookup_expressions": expressions,
    "gsb_lookup_hosts": lambda url: lookup_hosts(canonical_parts(url).host),
}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["id"])
def test_case(row):
    raw = row["input"].encode("latin-1")  # the Go source spells bytes; the corpus holds each as one character
    function = FUNCTIONS[row["kind"]]
    if row["expected"] is None:
        with pytest.raises(BadUrl):
            function(raw)
    else:
        assert function(raw) == row["expected"]


def test_every_kind_of_case_has_a_function():
    assert {row["kind"] for row in rows()} == set(FUNCTIONS)

"""The URL that we judge is the one that a browser would visit: web-platform-tests on `toc.url`; public suffixes.

Rows where the parser itself differs stand in fixtures/deviations_url.jsonl, each with its reason; a row that stands
there and holds after all is a failure too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import ada_url
import pytest

from toc.errors import BadUrl
from toc.url import registrable_domain, serialise

CORPUS = Path(os.environ.get("TOC_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason="no corpus beside the checkout (TOC_CORPUS)")
KNOWN = {
    row["id"]: row["reason"]
    for row in map(json.loads, Path("fixtures/deviations_url.jsonl").read_text("utf-8").splitlines())
}


def rows(folder: str) -> list[dict]:
    path = CORPUS / folder / "cases.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def attempt(function, *arguments):
    try:
        return function(*arguments)
    except (BadUrl, ValueError):
        return None


def deviations(cases) -> dict[str, tuple]:
    """The rows whose outcome is another one: id → (input, expected, found)."""
    return {row["id"]: (text, expected, found) for row, text, expected, found in cases if expected != found}


def explained(found: dict[str, tuple], prefix: str) -> None:
    known = {key for key in KNOWN if key.startswith(prefix)}
    unexplained = {key: value for key, value in found.items() if key not in known}
    assert unexplained == {}
    assert known - found.keys() == set(), "these hold by now: take them out of the fixture"


def test_urls_serialise_as_browsers_do():
    cases = [
        (
            row,
            row["input"],
            None if row["expected"].get("failure") else row["expected"]["href"],
            attempt(serialise, row["input"], row["base"]),
        )
        for row in rows("wpt_urltestdata")
    ]
    assert len(cases) > 800
    explained(deviations(cases), "wpt_urltestdata")


def test_hosts_become_a_labels_as_browsers_do():
    cases = []
    for row in rows("wpt_idna"):
        if not row["input"]:
            continue  # "https:///x" is a URL, of the host x
        found = attempt(lambda text: ada_url.URL(f"https://{text}/x").hostname, row["input"])
        cases.append((row, row["input"], row["expected"], found or None))
    assert len(cases) > 2_000
    explained(deviations(cases), "wpt_idna")


CODECS = {"big5": "big5-hkscs", "euc-kr": "cp949", "shift_jis": "cp932", "iso-2022-jp": "iso2022_jp"}


def test_queries_are_encoded_by_the_document_s_charset():
    cases = []
    for row in rows("wpt_percent_encoding"):
        for charset, expected in row["expected"].items():
            query = serialise(f"http://h.example/?{row['input']}", None, CODECS.get(charset, charset)).partition("?")[2]
            cases.append(({"id": f"{row['id']}-{charset}"}, row["input"], expected, query))
    assert len(cases) > 10
    explained(deviations(cases), "wpt_percent_encoding")


def test_registrable_domains_are_those_of_the_public_suffix_list():
    cases = []
    for row in rows("publicsuffix"):
        text = row["input"]
        if text is None or text.startswith("."):
            continue  # no host of a URL
        host = ada_url.idna_to_ascii(text.lower()).decode()
        expected = row["expected"] and ada_url.idna_to_ascii(row["expected"]).decode()
        found = registrable_domain(host)
        cases.append((row, text, expected or host, found))  # a suffix has no registrable domain: the host itself
    assert len(cases) > 140
    explained(deviations(cases), "publicsuffix")

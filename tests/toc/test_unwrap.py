"""Other vendors' wrappers.

Invariants: a wrapper is told by exact host and path and gives its target after the vendor's own decoding, no more
(fixtures/wrapped.jsonl, every vendor, one reason a row); what is ambiguous, broken or no http(s) URL has no target; depth
is bounded; any input gives a result; a URL that nothing wraps is its own target.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toc.errors import BadUrl
from toc.unwrap import MAX_DEPTH, TABLE, Unwrapped, unwrap, unwrap_url
from toc.url import parse, serialise

FIXTURES = Path(__file__).parents[2] / "fixtures"
VENDORS = {row.vendor for row in TABLE} | {"fortimail"}


def rows() -> list[dict]:
    with (FIXTURES / "wrapped.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row['vendor']}: {row['why']}")
def test_each_shape(row: dict) -> None:
    result = unwrap(row["url"])
    assert result.target == (serialise(row["target"]) if row["target"] else None), row["why"]
    assert [layer.vendor for layer in result.layers] == row.get("layers", [row["vendor"]])
    assert result.hint == row.get("hint")


def test_every_vendor_has_a_sample() -> None:
    assert {row["vendor"] for row in rows()} - {None} == VENDORS


def wrapped(target: str, times: int) -> str:
    for _ in range(times):
        target = f"https://linkprotect.cudasvc.com/url?a={quote(target, safe='')}"
    return target


@pytest.mark.parametrize("times", range(MAX_DEPTH + 3))
def test_depth_is_bounded(times: int) -> None:
    result = unwrap(wrapped("https://shop.example/", times))
    assert len(result.layers) == min(times, MAX_DEPTH)
    assert result.target == ("https://shop.example/" if times <= MAX_DEPTH else None)


def test_layers_name_the_wrappers_from_the_outside_in() -> None:
    inner = wrapped("https://shop.example/", 1)
    outer = wrapped(inner, 1)
    assert [layer.url for layer in unwrap(outer).layers] == [serialise(outer), serialise(inner)]


@pytest.mark.parametrize("text", ["", "x", "http://", "mailto:a@b.example", "https://exa mple/"])
def test_what_is_no_url_has_no_target(text: str) -> None:
    assert unwrap(text) == Unwrapped(None)


def test_json_that_is_too_deep_hides_the_target() -> None:
    """The parser of JSON in Python recurses, and gives up at a depth that 8 KiB of key reach."""
    key = base64.urlsafe_b64encode(b"[" * 5000).decode()
    found = unwrap(f"https://mibc-fr-01.mailinblack.com/securelink/?key={key}")
    assert found.target is None
    assert [layer.vendor for layer in found.layers] == ["mailinblack"]


@given(
    st.sampled_from([row["url"] for row in rows()]),
    st.integers(0, 400),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
def test_any_input_gives_a_result(url: str, at: int, noise: str) -> None:
    spoilt = url[:at] + noise + url[at + 1 :]
    result = unwrap(spoilt)
    try:
        parsed = parse(spoilt)
    except BadUrl:
        assert result == Unwrapped(None)
        return
    assert result == unwrap_url(parsed)
    assert len(result.layers) <= MAX_DEPTH
    if not result.layers:
        assert result.target == parsed.href
    if result.target is not None:
        assert parse(result.target).href == result.target

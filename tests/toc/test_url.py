"""The URL parser's quick way: what it takes for its own serialisation is exactly that by the parser behind it."""

from __future__ import annotations

import ada_url
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toc.errors import BadUrl
from toc.url import _CANONICAL, parse, serialise

LABELS = st.from_regex(r"[a-z0-9-]{1,70}", fullmatch=True) | st.sampled_from(
    ["xn--", "xn--80ak6aa92e", "xn--a", "a--b", "ab--c", "0x7f", "1", "www", "-a", "a-", "com", "x", "0", "127"]
)
HOSTS = st.lists(LABELS, min_size=1, max_size=6).map(".".join)
PIECES = st.sampled_from(
    [".", "..", "%2e", "%2E.", ".%2e", "a", "/", "//", "?", "#", "'", '"', "<", "`", "{", "|", "^", "\\", " ", "\t", "%", "%zz",
     "@", ":", ";", "=", "&", "~", "!", "$", "(", ")", "*", "+", ",", "-", "_", "é", "é", "\x00", "[", "]"]
)  # fmt: skip
TAILS = st.lists(PIECES | st.text("ab/?#.%2eE&='", max_size=4), max_size=12).map("".join)


@given(
    st.sampled_from(["http://", "https://", "HTTP://", "https:/"]),
    HOSTS,
    st.sampled_from(["", ":80", ":8080", "."]),
    TAILS,
)
def test_a_canonical_url_is_its_own_serialisation(scheme: str, host: str, port: str, tail: str) -> None:
    text = scheme + host + port + tail
    if _CANONICAL.match(text):
        assert ada_url.URL(text).href == text
        assert ada_url.URL(text, "https://other.example/a/b?c").href == text


@pytest.mark.parametrize(
    ("text", "taken", "why"),
    [
        ("https://www.example.com/", True, "ordinary"),
        ("https://www.example.com/a/b.html?x=1&y=%20#top", True, "ordinary"),
        ("https://www.example.com", False, "the path is missing"),
        ("https://www.example.com:443/", False, "a default port goes"),
        ("https://xn--80ak6aa92e.com/", False, "an A-label is checked by the parser"),
        ("https://1.2.3.4/", False, "an address may be spelt otherwise"),
        ("https://example.0x7f/", False, "ends in a number"),
        ("https://example.com./", False, "a trailing dot"),
        ("https://EXAMPLE.com/", False, "upper case"),
        ("https://example.com/a/../b", False, "a dot segment"),
        ("https://example.com/%2e%2e/b", False, "a dot segment in disguise"),
        ("https://example.com/?a'b", False, "encoded in a query"),
        ("https://example.com/a b", False, "a blank"),
        ("https://a@example.com/", False, "userinfo"),
    ],
)
def test_which_urls_need_no_parser(text: str, taken: bool, why: str) -> None:
    assert bool(_CANONICAL.match(text)) is taken, why


@given(st.text(max_size=60) | TAILS)
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        href = serialise(text)
    except BadUrl:
        return
    assert serialise(href) == href
    if href.startswith(("http:", "https:")):
        assert parse(text).href == href
    else:
        with pytest.raises(BadUrl, match="is not http or https"):
            parse(text)

"""What browsers of our days read in different ways, and what no parser at hand can judge.

Invariant: no reading is left with a live link; where that cannot be shown, the part is not proven.
"""

from __future__ import annotations

import pytest

from rewriter.edit import apply
from rewriter.html import rewrite_html
from rewriter.html_links import refresh_url
from rewriter.options import Options
from rewriter.receipt import Outcome
from tests.reversible import protect
from toc.link import Keep

TORN = (
    "<svg><foreignObject><math><mo></foreignObject><script>",
    "<math><mtext><svg><desc><svg><clipPath><desc><math><mi></clipPath><style>",
)


@pytest.mark.parametrize("start", TORN)
def test_a_tag_that_closes_svg_across_mathml_leaves_the_part_unproven(start: str) -> None:
    """Chromium and WebKit look for `foreignobject` there, in lower case, and find none: the element stays open."""
    source = start + "<b title='</script></style><a href=http://evil.example/>x</a>"
    assert not rewrite_html(source, part="1", protect=protect, options=Options()).sound
    closed_in_order = start.replace("<math><mo>", "").replace("<math><mi>", "")
    assert rewrite_html(
        closed_in_order + "<a href=http://a.example/>", part="1", protect=protect, options=Options()
    ).sound


SHARES = ("file://evil.example/s/", "file:////evil.example/s/", "file:\\\\evil.example\\s\\")


@pytest.mark.parametrize("base", SHARES)
def test_what_is_relative_to_a_share_is_neutralised(base: str) -> None:
    source = f"<base href='{base}'><a href=x>y</a>"
    result = rewrite_html(source, part="1", protect=protect, options=Options())
    assert [row.outcome for row in result.rows] == [Outcome.NEUTRALISED]
    assert apply(source, result.edits) == f"<base href='{base}'><a href=about:invalid>y</a>"


def test_what_is_relative_to_a_local_file_stays() -> None:
    """Word leaves such a base behind; nobody else's machine has the file."""
    source = "<base href='file:///C:/Users/x/'><a href=#top>y</a><a href=x>y</a>"
    assert rewrite_html(source, part="1", protect=protect, options=Options()).edits == ()


REFRESHES = {
    "0;url=x": "x",
    "0\v;url=x": "x",
    "\u30000;url=x": "x",
    "0;url=\u2003x": "x",
    "0;url='\u2003x'": "x",
    "0;url='x": "x",
    "0;\u2003x": "x",
    "0;\vurl=x": "url=x",
    "0\v 'x'": "x",
    "0 \v;x": ";x",
    "0\u00a0;url=x": None,
    "\u06600;url=x": None,
}


@pytest.mark.parametrize("content", REFRESHES)
def test_where_the_url_of_a_refresh_stands(content: str) -> None:
    part = refresh_url(content)
    assert (content[part[0] : part[1]] if part else None) == REFRESHES[content]


@pytest.mark.parametrize("value", ["http://a.example/?q=é", "http://a.example/?q=&eacute;", "//a.example/?q=é"])
def test_a_kept_link_is_kept_though_its_query_is_in_another_charset(value: str) -> None:
    """The judges see UTF-8."""
    source = f"<base href=http://b.example/><a href='{value}'>x</a>"
    done = rewrite_html(source, part="1", protect=lambda _: Keep("exempt"), options=Options(), encoding="cp1252")
    assert [(row.outcome, row.url) for row in done.rows] == [(Outcome.KEPT, "http://a.example/?q=%E9")]
    assert done.sound
    assert done.edits == ()

"""HTML that would cost a parser more than its length explains.

Invariant: it is recognised before a parser is asked; what the scan found is sealed all the same, what it may have missed is
broken, the message is said to be unscannable, and a second pass changes nothing. Ordinary HTML of any length is affordable.
"""

from __future__ import annotations

import pytest

from rewriter.html import rewrite_html
from rewriter.html_cost import is_affordable, is_cheap, steps
from rewriter.message import rewrite_message
from rewriter.options import OnUnscannable, Options
from rewriter.receipt import Outcome
from tests.reversible import link_to, protect

FORMATTING = "<p>" + "".join(f"<b a={n}>" for n in range(2000)) + "<p>x" * 2000
HIDDEN = "<p>" + "".join(f"<b a='>{n}'>" for n in range(2000)) + "<p>x" * 2000
DEEP = "<q>" * 40_000 + "</x>" * 40_000
ATTRIBUTES = "<p " + " ".join(f"x{n}" for n in range(30_000)) + ">"
DEAR = {
    "formatting elements, each opened anew in every paragraph": FORMATTING,
    "the same, told apart only behind a bracket": HIDDEN,
    "the same for Outlook": f"<!--[if mso]>{FORMATTING}<![endif]-->",
    "the same in a template": f"<template>{FORMATTING}</template>",
    "end tags that look through all open elements": DEEP,
    "one tag with too many attributes": ATTRIBUTES,
}


@pytest.mark.parametrize("html", DEAR.values(), ids=DEAR.keys())
def test_what_is_too_dear_is_sealed_as_far_as_it_was_read(html: str) -> None:
    raw = f"Content-Type: text/html\r\n\r\n<a href=//evil.example/a>x</a><img src=http://evil.example/b>{html}\r\n"
    done = rewrite_message(raw.encode(), protect, Options())
    assert not done.complete
    assert "unscannable" in done.notes
    assert [row.url for row in done.rows if row.outcome is Outcome.REWRITTEN] == ["https://evil.example/a"]
    assert f"<a href={link_to('https://evil.example/a')}>x</a><img src=hxxp://evil.example/b>".encode() in done.message
    assert rewrite_message(done.message, protect, Options()).message == done.message


def test_what_the_operator_lets_pass_is_sealed_too() -> None:
    raw = f"Content-Type: text/html\r\n\r\n<a href=http://evil.example/>x</a><img src=http://b.example/>{FORMATTING}"
    done = rewrite_message(raw.encode(), protect, Options(on_unscannable=OnUnscannable.PASS))
    assert not done.complete
    assert b"<img src=http://b.example/>" in done.message
    assert f"<a href={link_to('http://evil.example/')}>".encode() in done.message


ORDINARY = {
    "a long table": "<table>" + "<tr><td><p><font size=1>x</font></td></tr>" * 20_000 + "</table>",
    "paragraphs that are never closed": "<p>x<br>" * 20_000,
    "links": "<a href=http://a.example/><b>x</b></a> " * 10_000,
    "fonts that are never closed": "<font color=red>x" * 3_000,
    "deep lists": ("<ul><li>" * 100 + "</ul>" * 100) * 100,
}


@pytest.mark.parametrize("html", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_html_of_any_length_is_affordable(html: str) -> None:
    assert is_affordable(html, html.count("</"))
    assert rewrite_html(html + "<a href=http://evil.example/>", part="1", protect=protect, options=Options()).sound


def test_steps_are_the_open_elements_at_each_tag() -> None:
    assert steps("<div><p>x</p></div>") == 1 + 2 + 2 + 1 + 0
    assert is_cheap("<div>" * 1000)
    assert not is_cheap("<div>" * 4000)

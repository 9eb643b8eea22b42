"""Live sources on the overview and among the lists.

Invariants: each state has its own word in each language; what a source answered stays text; nothing is shown where none is
configured.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from selectolax.lexbor import LexborHTMLParser

from tests.toc.console.conftest import HOSTILE, Site
from toc.knowledge import utc_now
from toc.live_health import Health, State

WORDS = {
    State.OPEN: ("left alone: failed too often", "block"),
    State.SILENT: ("silent", "warn"),
    State.GOOD: ("good", "safe"),
    State.UNASKED: ("not asked yet", ""),
}


def health(name: str, state: State, error: str = "") -> Health:
    now = utc_now()
    return Health(
        name=name, required=True, state=state, since=None if state is State.UNASKED else now, error=error,
        failed=now if error else None, answers=12345, silences=3, troubled=1, processes=2,
    )  # fmt: skip


async def shown(site: Site, *sources: Health) -> dict[str, str]:
    site.desk = replace(site.desk, sources=lambda: sources)
    browser = await site.signed_in("vera")
    return {place: (await browser.get(f"/console/{place}")).text for place in ("", "lists")}


@pytest.mark.parametrize("state", State)
async def test_each_state_has_its_word(site: Site, state: State) -> None:
    for page in (await shown(site, health("my-dbl", state))).values():
        badge = next(node for node in LexborHTMLParser(page).css(".badge") if node.text() == WORDS[state][0])
        assert badge.attributes["class"].split() == ["badge", *filter(None, [WORDS[state][1]])]
        assert "in 1 of 2 processes" in page
        assert "my-dbl" in page


async def test_the_lists_tell_the_figures(site: Site) -> None:
    page = (await shown(site, health("my-dbl", State.SILENT, "SERVFAIL")))["lists"]
    row = LexborHTMLParser(page).css_first("section[aria-labelledby=live] tbody tr").text()
    assert "12,345" in row
    assert "SERVFAIL" in row


async def test_without_live_sources_nothing_is_said(site: Site) -> None:
    pages = await shown(site)
    assert "Live sources" not in pages["lists"]
    assert "No list is configured." in pages[""]


async def test_what_a_source_answers_stays_text(site: Site) -> None:
    page = (await shown(site, *(health(f"s{n}", State.OPEN, text) for n, text in enumerate(HOSTILE))))["lists"]
    tree = LexborHTMLParser(page)
    assert not tree.css("main script, main img")
    assert not [node for node in tree.css("*") if any(name.startswith("on") for name in node.attributes)]
    assert "\u202e" not in page
    assert "U+202E" in page

"""What strangers write stays text.

Invariants: in every page, wherever a mail, URL, browser or a colleague may put text: no element, attribute or template of
theirs comes to life; no control, bidi or invisible character reaches the page as itself; values of a URL's query are on no page
until they are revealed, and a reveal is in the audit trail; what is copied is no link.
"""

from __future__ import annotations

import html
import re
from zoneinfo import ZoneInfo

import pytest
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import insert, select

from tests.toc.console.conftest import HOSTILE, Site, fill, post, token_of
from toc.console import show
from toc.console.headers import HEADERS
from toc.hiding import defanged
from toc.store.schema import audit, hits, links

SECRET = "s3cr3t-v4lue"
URL = f"https://evil.example/reset?token={SECRET}&user=a#{SECRET}-fragment"
ODD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]")


PLACES = ("clicks", "messages", "hits", "objects", "reports", "lists", "policy", "keys", "audit")


async def pages(site: Site) -> dict[str, str]:
    """Every page that shows records, as an analyst gets it."""
    browser = await site.signed_in("adam")
    token = await token_of(browser, "/console/account")
    found = {}
    for text in HOSTILE:
        fields = {"type": "domain", "value": "x.example", "action": "log", "note": text, "owner": text}
        found["objects added"] = (await post(browser, "/console/objects", token, **fields)).text
    listing = (await browser.get("/console/clicks")).text
    ids = re.findall(r'href="/console/(clicks/[0-9a-f]{32}|messages/[0-9a-f]{16})"', listing)
    ids += re.findall(r'href="/console/(messages/[0-9a-f]{16})"', (await browser.get("/console/messages")).text)
    assert len(ids) >= 2 * len(HOSTILE)
    asked: list[tuple[str, dict[str, str]]] = [(place, {}) for place in ("", *PLACES, *ids)]
    for text in HOSTILE:
        asked += [("clicks", {name: text}) for name in ("recipient", "subject", "url", "host", "network", "from")]
        asked += [("messages", {"subject": text}), ("policy", {"url": text, "recipient": text})]
        asked += [("objects", {"q": text, "new_value": text}), ("objects/check", {"type": "url", "value": text})]
    for place, query in asked:
        answer = await browser.get(f"/console/{place}", params=query)
        assert answer.status_code in (200, 422), (place, query, answer.status_code)
        found[f"{place} {query}"] = answer.text
    return found


async def accused(site: Site, number: int, text: str) -> None:
    """A later entry accuses the links of that mail; whoever keeps the list wrote `text`."""
    async with site.engine.begin() as connection:
        held = select(links.c.id).where(links.c.message_ref == number.to_bytes(8, "big"))
        for link in (await connection.execute(held)).scalars().all():
            await connection.execute(insert(hits).values(time=site.now(), source=text, entry=URL + text, link=link))


async def test_nothing_comes_to_life(site: Site) -> None:
    for number, text in enumerate(HOSTILE, 1):
        await fill(site, number, text, URL if number % 2 else URL.replace("?", "#"))
        await accused(site, number, text)
    for place, page in (await pages(site)).items():
        tree = LexborHTMLParser(page)
        for node in tree.css("*"):
            handlers = [name for name in node.attributes if name.startswith("on") or name in ("style", "srcdoc")]
            assert handlers == [], (place, node.html[:200])
            for name in ("href", "src", "action"):
                value = node.attributes.get(name) or "/console/"
                assert value.startswith(("/console/", "#")), (place, name, value)
        assert len(tree.css("script")) in (0, 2, 3), place
        assert all(not node.text() for node in tree.css("script")), place
        assert not tree.css("main img, iframe, object, embed, base, meta[http-equiv]"), place
        assert "49" not in tree.css_first("bdi").text() if tree.css_first("bdi") else True
        assert not ODD.search(page), (place, ODD.search(page))
        assert SECRET not in page, place


async def test_revealing_is_for_analysts_and_on_record(site: Site) -> None:
    await fill(site, 1, "Subject", URL)
    listing = (await (await site.signed_in("vera")).get("/console/clicks")).text
    click_id = re.search(r"clicks/([0-9a-f]{32})", listing).group(1)
    viewer, analyst = await site.signed_in("vera"), await site.signed_in("ana")
    place = f"/console/clicks/{click_id}"
    assert "Reveal" not in (await viewer.get(place)).text
    refused = await post(viewer, f"{place}/reveal", await token_of(viewer, "/console/account"))
    assert refused.status_code == 403
    assert SECRET not in refused.text
    told = await post(analyst, f"{place}/reveal", await token_of(analyst, place))
    assert f"token={SECRET}" in html.unescape(told.text)
    mail = await post(analyst, f"/console/messages/{1:016x}/reveal", await token_of(analyst, "/console/account"))
    assert f"token={SECRET}" in html.unescape(mail.text)
    async with site.engine.connect() as connection:
        rows = (await connection.execute(select(audit).where(audit.c.verb.contains("reveal")))).all()
    assert [(row.actor, row.verb, row.subject) for row in rows] == [
        ("user:ana", "click_revealed", click_id),
        ("user:ana", "message_revealed", f"{1:016x}"),
    ]


async def test_every_answer_has_the_headers(site: Site) -> None:
    browser = await site.signed_in("ana")
    for place in ("/console/", "/console/sign-in", "/console/nowhere", "/console/keys", "/console/static/console.js"):
        answer = await browser.get(place)
        assert "unsafe" not in answer.headers["content-security-policy"]
        for name, value in HEADERS.items():
            if name != "Cache-Control":
                assert answer.headers[name] == value, (place, name)
    assert (await browser.get("/console/")).headers["cache-control"] == "no-store"
    away = await site.browser().get("/console/")
    assert away.headers["cache-control"] == "no-store"


async def test_a_search_says_what_it_searches_for(site: Site) -> None:
    """A filter that the form has no choice for, or of another zone, is on the page all the same."""
    browser = await site.signed_in("vera")
    query = {"reason": "no_such_reason", "zone": "Europe/Berlin", "from": "2026-01-01"}
    page = (await browser.get("/console/clicks", params=query)).text
    assert "<option selected>no_such_reason</option>" in page
    assert "From and To are times of Europe/Berlin." in page
    for wrong in ({"zone": "Nowhere/Town"}, {"from": "yesterday"}, {"network": "x"}, {"action": "allow'"}):
        answer = await browser.get("/console/clicks", params=wrong)
        assert answer.status_code == 422
        assert "These filters were not understood." in answer.text


async def test_the_way_in(site: Site) -> None:
    browser = await site.signed_in("vera")
    answer = await browser.get("/console", follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/console/")


async def test_no_page_has_a_script_or_style_of_its_own(site: Site) -> None:
    browser = await site.signed_in("adam")
    for place in ("", "clicks", "objects", "policy", "keys", "audit", "account", "reports"):
        page = (await browser.get(f"/console/{place}")).text
        assert "<style" not in page
        assert not re.search(r"\sstyle=", page)
        assert not re.search(r"<script(?![^>]*src=)", page)


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://a.example/", "https://a.example/"),
        ("https://a.example/p?q=1", "https://a.example/p?q=•••"),
        ("https://a.example/p?q=1&r=2", "https://a.example/p?q=•••&r=•••"),
        ("https://a.example/p?bare0token", "https://a.example/p?•••"),
        ("https://a.example/p?q=", "https://a.example/p?q=•••"),
        ("https://a.example/p?a=1&&b", "https://a.example/p?a=•••&&•••"),
        ("https://a.example/#token=1", "https://a.example/#•••"),
        ("https://a.example/?a=b?c=d", "https://a.example/?a=•••"),
        ("https://a.example/p?a=1#x", "https://a.example/p?a=•••#•••"),
    ],
)
def test_masks(url: str, masked: str) -> None:
    assert show.masked(url) == masked


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("https://evil.example/a.b?c=d.e", "hxxps://evil[.]example/a.b?c=d.e"),
        ("http://198.51.100.7/", "hxxp://198[.]51[.]100[.]7/"),
        ("evil.example", "evil[.]example"),
        ("a@evil.example", "a[@]evil[.]example"),
        ("https://a.example/\u202ex", "hxxps://a[.]example/[U+202E]x"),
    ],
)
def test_what_is_copied_is_no_link(text: str, harmless: str) -> None:
    assert defanged(text) == harmless


@pytest.mark.parametrize(
    "text",
    [
        "hxxps://evil[.]example/a", "hXXps://evil[.]example/a", "https://evil(.)example/a", "h**ps://evil[dot]example/a",
        "https[:]//evil.example/a", "hxxps[://]evil[.]example/a", "https://evil{.}example/a",
    ],
)  # fmt: skip
def test_what_a_report_writes_is_understood(text: str) -> None:
    assert show.refanged(text) == "https://evil.example/a"


def test_refanging_leaves_ipv6_and_ordinary_text_alone() -> None:
    assert show.refanged("http://[2001:db8::1]/x?a[0]=1") == "http://[2001:db8::1]/x?a[0]=1"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("2026-11-24", "2026-11-24T00:00"),
        ("2026-11-24T09:30", "2026-11-24T09:30"),
        ("2026-11-24T09:30:05", "2026-11-24T09:30:05"),
        ("2026-11-24T00:30:00Z", "2026-11-24T09:30"),
        ("yesterday", ""),
    ],
)
def test_times_in_fields(text: str, field: str) -> None:
    assert show.field_time(text, ZoneInfo("Asia/Tokyo")) == field


def test_shown_names_what_hides() -> None:
    assert str(show.shown("a\u202eb")) == (
        '<bdi>a<span class="odd" title="RIGHT-TO-LEFT OVERRIDE">U+202E</span>b</bdi>'
    )
    assert str(show.shown("\ud800<")) == '<bdi><span class="odd" title="control character">U+D800</span>&lt;</bdi>'

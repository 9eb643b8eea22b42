"""The pages.

Invariants: every page renders in every language; the target never becomes something to click, whatever its URL; the host is
shown whole, its registrable domain set off; buttons stand only where a way on or a report is due; nothing on a page comes
from elsewhere, needs script or is built from the Host header; a page says why, also for a code that has no words.
"""

from __future__ import annotations

import html
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from redirector.branding import Branding
from redirector.negotiate import LANGUAGES
from redirector.pages import KINDS, STATUS, Renderer, Story
from redirector.words import REASONS, Page
from toc.errors import BadUrl
from toc.url import parse

RENDERER = Renderer(Branding(name="Musterwerk & Söhne", contact="security@musterwerk.example"))
STORY = Story(
    Page.WARNING,
    url="https://login.musterbank.example/a?b=1&c=%22",
    host="login.musterbank.example",
    domain="musterbank.example",
    reasons=("lookalike", "first_seen"),
    level="suspicious",
    reference="00112233445566778899aabbccddeeff",
    nonce="the-nonce",
    action_path="login.musterbank.example/1token",
)


def page(story: Story, language: str = "en", chosen: str | None = None) -> LexborHTMLParser:
    return LexborHTMLParser(RENDERER.render(story, language, chosen).decode())


def one(tree: LexborHTMLParser, selector: str) -> str:
    nodes = tree.css(selector)
    assert len(nodes) == 1, selector
    return nodes[0].text()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", Page)
def test_every_page_in_every_language(kind: Page, language: str) -> None:
    tree = page(replace(STORY, page=kind), language)
    assert tree.css_first("html").attributes["lang"] == language
    assert tree.css_first("html").attributes["dir"] == ("rtl" if language == "ar" else "ltr")
    assert one(tree, "h1") == one(tree, "title")
    assert one(tree, ".host") == STORY.host
    assert one(tree, ".url") == STORY.url
    assert len(tree.css("main")) == len(tree.css("header")) == len(tree.css("footer")) == 1
    assert not tree.css("script, style, iframe, [style], [onclick]")
    assert [node.text() for node in tree.css("nav li")] == list(LANGUAGES.values())


@pytest.mark.parametrize("kind", Page)
def test_pages_without_a_target(kind: Page) -> None:
    """A bad link, or a shed click: there is nothing to show but the words."""
    tree = page(Story(kind))
    assert one(tree, "h1")
    assert not tree.css(".target, form, main a")


def test_the_registrable_domain_is_set_off() -> None:
    tree = page(STORY)
    assert one(tree, ".host .head") == "login."
    assert one(tree, ".host strong") == "musterbank.example"


@pytest.mark.parametrize(
    ("host", "domain", "head", "strong", "why"),
    [
        ("musterbank.example", "musterbank.example", None, "musterbank.example", "nothing in front"),
        ("192.0.2.1", "192.0.2.1", None, "192.0.2.1", "an address has no domain"),
        ("[2001:db8::1]", "[2001:db8::1]", None, "[2001:db8::1]", "an address has no domain"),
        ("localhost", "localhost", None, "localhost", "one label"),
        ("a.b.example.", "b.example", None, "a.b.example.", "a dot at the end: not cut wrongly, so not cut at all"),
        ("xbad.example", "bad.example", None, "xbad.example", "a domain only by label"),
        ("a.xn--bcher-kva.example", "xn--bcher-kva.example", "a.", "bücher.example", "A-labels are shown as letters"),
    ],
)
def test_shapes_of_hosts(host: str, domain: str, head: str | None, strong: str, why: str) -> None:
    tree = page(replace(STORY, host=host, domain=domain))
    heads = tree.css(".host .head")
    assert ([node.text() for node in heads], one(tree, ".host strong")) == ([head] if head else [], strong), why


def test_technical_spelling_beside_letters() -> None:
    tree = page(replace(STORY, host="www.xn--80ak6aa92e.example", domain="xn--80ak6aa92e.example"))
    assert one(tree, ".latin code") == "www.xn--80ak6aa92e.example"
    assert not page(STORY).css(".latin")


def test_each_label_is_isolated() -> None:
    """A right-to-left label must not move its neighbours (Unicode UAX #9)."""
    tree = page(replace(STORY, host="a.xn--mgbaa.xn--wgbh1c", domain="xn--mgbaa.xn--wgbh1c"), "ar")
    first, *others = (node.text() for node in tree.css(".host bdi"))
    assert first == "a"
    assert len(others) == 2
    assert tree.css_first(".host").attributes["dir"] == "ltr"


BUTTONS = {
    Page.BLOCKED: ["report"],
    Page.WARNING: ["report", "proceed"],
    Page.UNCHECKED: ["report", "proceed"],
    Page.NOT_SENT: ["report", "proceed"],
    Page.PREVIEW: ["report"],
    Page.SUNSET: ["proceed"],
}


@pytest.mark.parametrize("kind", Page)
def test_buttons_only_where_due(kind: Page) -> None:
    tree = page(replace(STORY, page=kind))
    assert [node.attributes["value"] for node in tree.css("input[name=do]")] == BUTTONS.get(kind, [])
    for form in tree.css("form"):
        assert (form.attributes["method"], form.attributes["action"]) == ("post", "../../u/" + STORY.action_path)
        assert form.css_first("input[name=nonce]").attributes["value"] == "the-nonce"
    assert not page(replace(STORY, page=kind, nonce="")).css("form")


def test_the_button_that_leads_on_bears_the_domain() -> None:
    assert "musterbank.example" in one(page(STORY), "button.proceed")
    for language in LANGUAGES:
        text = one(page(STORY, language), "button.proceed")
        assert "musterbank.example" in text
        assert "{" not in text


@pytest.mark.parametrize("kind", Page)
def test_links_stay_on_our_side(kind: Page) -> None:
    """Relative ones only, or the operator's contact."""
    for node in page(replace(STORY, page=kind), "fr", "fr").css("[href], [src], [action]"):
        for name in ("href", "src", "action"):
            target = node.attributes.get(name)
            if target is not None:
                assert re.match(r"\?lang=|\.\./\.\./(u|p|static)/|mailto:security@", target), target


def test_switch_of_language() -> None:
    tree = page(STORY, "de", "ja")
    assert tree.css_first("html").attributes["lang"] == "ja"
    assert [node.attributes["href"] for node in tree.css("nav a")] == [
        f"?lang={code}" for code in LANGUAGES if code != "ja"
    ]
    assert tree.css_first("form").attributes["action"].endswith("/1token?lang=ja"), "the answer speaks it too"


@pytest.mark.parametrize("kind", [Page.NOT_SENT, Page.REPORTED])
def test_switch_on_answers_to_a_post(kind: Page) -> None:
    """A GET of the same address could forward, so the switch goes to the preview."""
    first = page(replace(STORY, page=kind)).css_first("nav a")
    assert first.attributes["href"] == f"../../p/{STORY.action_path}?lang=ja"


def test_root() -> None:
    tree = page(Story(Page.DAMAGED, root="../../../../"))
    assert tree.css_first("link[rel=stylesheet]").attributes["href"].startswith("../../../../static/page.css?")


def test_reasons_in_words() -> None:
    assert [node.text() for node in page(STORY).css(".why li")] == [REASONS["lookalike"], REASONS["first_seen"]]


@pytest.mark.parametrize("reasons", [(), ("a_code_of_tomorrow",)])
def test_a_page_says_why_also_without_words_for_the_code(reasons: tuple[str, ...]) -> None:
    tree = page(replace(STORY, reasons=reasons))
    assert [node.text() for node in tree.css(".why li")] == [REASONS["suspicious"]]


def test_a_reason_is_given_once() -> None:
    assert len(page(replace(STORY, reasons=("phishing", "phishing"))).css(".why li")) == 1


def test_silent_sources_are_named() -> None:
    assert "dbl, a <b>" in one(page(replace(STORY, silent=("dbl", "a <b>"))), ".silent")


def test_reference_and_what_is_recorded() -> None:
    assert one(page(STORY), ".reference") == STORY.reference
    assert not page(replace(STORY, page=Page.PREVIEW)).css(".reference"), "a preview is no click and on no record"


def test_no_target_at_hand() -> None:
    """A stored link while the store is away: the page must not speak of a site below."""
    with_host = one(page(replace(STORY, page=Page.UNCHECKED)), ".lead")
    assert with_host != one(page(Story(Page.UNCHECKED, reasons=("store_needed",))), ".lead")


TONES = [("dangerous", "stop"), ("suspicious", "doubt"), ("untested", "calm"), ("safe", "good")]


@pytest.mark.parametrize(("level", "tone"), TONES)
def test_the_preview_takes_its_tone_from_the_level(level: str, tone: str) -> None:
    assert page(replace(STORY, page=Page.PREVIEW, level=level)).css_first("body").attributes["class"] == tone


def test_both_readings() -> None:
    other = "https://login.musterbank.example/a?b=1%E3%82%92"
    assert [node.text() for node in page(replace(STORY, other=other)).css(".url")] == [STORY.url, other]


@given(
    st.text(max_size=60), st.text(max_size=60), st.text(alphabet="<>\"'&/ ={}%abc", max_size=40), st.sampled_from(Page)
)
def test_no_url_breaks_out(path: str, query: str, name: str, kind: Page) -> None:
    """Every part of the URL and of what comes from lists stays text."""
    try:
        url = parse(f"https://e{name}.example/{path}?{query}#{path}")
    except BadUrl:
        return
    story = replace(
        STORY, page=kind, url=url.href, other=url.href, host=url.host, domain=url.domain, silent=(name, path)
    )
    tree, plain = page(story), page(replace(STORY, page=kind, other=STORY.url, silent=("x", "y")))
    shape = [(node.tag, sorted(node.attributes)) for node in tree.css("*") if node.tag not in ("bdi", "wbr", "span")]
    expected = [
        (node.tag, sorted(node.attributes)) for node in plain.css("*") if node.tag not in ("bdi", "wbr", "span")
    ]
    assert shape == expected
    assert all(node.text() == url.href for node in tree.css(".url"))


HOSTILE = "'\"><script>alert(1)</script><a href=//evil.example>"


@pytest.mark.parametrize("field", ["url", "other", "host", "domain", "reference", "nonce", "action_path", "level"])
@pytest.mark.parametrize("kind", Page)
def test_no_field_breaks_out(kind: Page, field: str) -> None:
    """Should a caller ever hand on something unserialised."""
    text = RENDERER.render(replace(STORY, page=kind, **{field: HOSTILE}), "en", None).decode()
    assert "<script" not in text
    assert "<a href=//" not in text


def test_headers_of_every_page() -> None:
    for kind in Page:
        sent = dict(RENDERER.headers(kind))
        policy = sent[b"content-security-policy"].decode().split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "style-src 'self'"} <= set(policy)
        forms = "'self' https: http:" if KINDS[kind].proceed else "'self'" if KINDS[kind].report else "'none'"
        assert f"form-action {forms}" in policy
        assert sent[b"cache-control"] == b"no-store"
        assert sent[b"referrer-policy"] == b"no-referrer"
        assert sent[b"x-content-type-options"] == b"nosniff"
        assert sent[b"x-robots-tag"] == b"noindex"
        assert sent[b"content-type"] == b"text/html; charset=utf-8"


def test_statuses() -> None:
    assert {kind.value: STATUS[kind] for kind in Page} == {
        "blocked": 403,
        "warning": 200,
        "unchecked": 200,
        "revoked": 410,
        "damaged": 404,
        "not_sent": 200,
        "preview": 200,
        "reported": 200,
        "root": 200,
        "rate_limited": 429,
        "overloaded": 503,
        "sunset": 200,
    }


def test_everything_that_a_page_loads_is_served() -> None:
    served = RENDERER.static_files()
    for node in page(STORY).css("link[href], img[src]"):
        target = node.attributes.get("href") or node.attributes["src"]
        assert html.unescape(target).partition("?")[0].removeprefix("../../static/") in served
    assert served["page.css"][0] == b"text/css; charset=utf-8"


def test_the_stylesheet_loads_nothing() -> None:
    assert not re.search(rb"url\(|@import|https?:", RENDERER.static_files()["page.css"][1])


def test_the_documentation_names_every_page_and_name_of_templates() -> None:
    docs = Path(__file__).parents[2] / "docs"
    rows = re.findall(r"^\| `(\w+)` \| (\d+)", (docs / "pages.md").read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {kind.value: str(STATUS[kind]) for kind in Page}
    text = (docs / "branding.md").read_text("utf-8")
    assert [field.name for field in fields(Story) if f"`{field.name}`" not in text] == []

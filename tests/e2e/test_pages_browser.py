"""The pages in a real Chromium.

Invariants, for each page in each language: nothing is wider than a 320-pixel phone; axe finds no violation, by day and by
night; nothing is blocked by our own policy; no script is needed; the page still makes sense without its stylesheet; on
paper the buttons are gone and the host stays. A button sends what the click expects.

With `TOC_SHOTS` set, a picture of each is left in that folder.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from redirector.branding import Branding
from redirector.negotiate import LANGUAGES
from redirector.pages import Renderer, Story
from redirector.words import Page as Kind
from tests.conftest import require_program

AXE_RUN = "options => axe.run(options).then(result => result.violations.map(one => [one.id, one.nodes[0].html]))"
RULES: dict[str, dict[str, object]] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""By night only the colours differ."""

WIDTHS = (320, 1280)

BASE = Story(
    Kind.WARNING,
    url="https://login.muster-bank.example/signin?session=8f2b7c&next=https%3A%2F%2Fwww.example.org%2F",
    host="login.muster-bank.example",
    domain="muster-bank.example",
    reasons=("lookalike", "first_seen", "text_differs"),
    level="suspicious",
    reference="4f9c2d6e8a1b4c3d9e0f1a2b3c4d5e6f",
    nonce="AAAAAAAAAAAAAAAAAAAA",
    action_path="login.muster-bank.example/1token",
)
LONG_LABELS = ".".join(letter * 60 for letter in "abc") + ".example"

STORIES: dict[str, Story] = {
    **{kind.value: replace(BASE, page=kind) for kind in Kind},
    **{kind.value: Story(kind) for kind in (Kind.DAMAGED, Kind.ROOT, Kind.RATE_LIMITED, Kind.OVERLOADED)},
    "revoked": replace(BASE, page=Kind.REVOKED, reasons=("revoked",), nonce=""),
    "blocked": replace(BASE, page=Kind.BLOCKED, reasons=("phishing", "malware"), level="dangerous"),
    "unchecked": replace(BASE, page=Kind.UNCHECKED, reasons=("source_silent",), silent=("reputation", "dbl.example")),
    "no_target": Story(Kind.UNCHECKED, reasons=("store_needed",)),
    "letters": replace(
        BASE,
        url="https://www.xn--bcher-kva.example/",
        host="www.xn--bcher-kva.example",
        domain="xn--bcher-kva.example",
        reasons=("punycode",),
    ),
    "long": replace(
        BASE,
        host=LONG_LABELS,
        domain=LONG_LABELS.partition(".")[2],
        url=f"https://{LONG_LABELS}/{'q' * 8000}",
        other=f"https://{LONG_LABELS}/{'%E3%82%92' * 300}",
    ),
}
"""Every page, and the shapes of targets that are hard to lay out."""


@dataclass
class Site:
    """A server that shows `STORIES` as ``/u/HOST/NAME``, with the headers that the click gives them."""

    address: str
    with_style: bool = True
    posted: list[tuple[str, str]] = field(default_factory=list)


def handler(site: Site, renderer: Renderer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            name = path.rpartition("/")[2]
            if path.startswith("/static/"):
                kind, body = renderer.static_files()[name]
                status = 200 if site.with_style or name != "page.css" else 404
                self.answer(status, ((b"content-type", kind),), body)
            else:
                story = STORIES[name]
                body = renderer.render(story, "", query.partition("=")[2] or None)
                self.answer(200, renderer.headers(story.page), body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            site.posted.append((self.path, body.decode()))
            self.answer(200, ((b"content-type", b"text/plain"),), b"done")

        def answer(self, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name.decode(), value.decode())
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    return Handler


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    renderer = Renderer(Branding(name="Musterwerk AG", contact="security@musterwerk.example"))
    found = Site("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(found, renderer))
    found.address = f"http://127.0.0.1:{server.server_port}/u/h/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = require_program("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield found
        found.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """One tab; what its console complains about fails the test."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    context = browser.new_context()
    page = context.new_page()
    page.on("console", hear)
    yield page
    context.close()
    assert complaints == []


def width_of(tab: Page) -> int:
    return int(tab.evaluate("document.documentElement.scrollWidth"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_wider_than_the_window(site: Site, tab: Page, language: str) -> None:
    shots = os.environ.get("TOC_SHOTS")
    for width in WIDTHS:
        tab.set_viewport_size({"width": width, "height": 640})
        for name in STORIES:
            tab.goto(f"{site.address}{name}?lang={language}")
            assert width_of(tab) <= width, (name, width)
            if shots:
                tab.screenshot(path=Path(shots, f"{name}-{language}-{width}.png"), full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_axe_finds_nothing(site: Site, tab: Page, axe: str, language: str, scheme: str) -> None:
    tab.set_viewport_size({"width": 320, "height": 640})
    tab.emulate_media(color_scheme=scheme)
    for name in STORIES:
        tab.goto(f"{site.address}{name}?lang={language}")
        tab.evaluate(axe)
        found = tab.evaluate(AXE_RUN, RULES[scheme])
        assert found == [], (name, scheme)


def test_axe_would_find_something(site: Site, tab: Page, axe: str) -> None:
    """The check above looks: a page spoilt on purpose is found out."""
    tab.goto(f"{site.address}warning")
    tab.evaluate(axe)
    tab.evaluate(
        "document.documentElement.removeAttribute('lang'); document.querySelector('.lead').style.color = '#ddd'"
    )
    found = {rule for rule, _ in tab.evaluate(AXE_RUN, {})}
    assert {"html-has-lang", "color-contrast"} <= found


def test_a_page_without_its_stylesheet_still_tells_the_story(site: Site, browser: Browser) -> None:
    site.with_style = False
    try:
        context = browser.new_context(viewport={"width": 320, "height": 640})
        tab = context.new_page()
        for name in ("warning", "blocked", "revoked"):
            tab.goto(f"{site.address}{name}")
            assert tab.locator(".host").is_visible()
            assert tab.locator("h1").is_visible()
            sign = tab.locator("svg").bounding_box()
            assert sign is not None
            assert sign["width"] < 60, "no sheet must not blow the sign up"
        context.close()
    finally:
        site.with_style = True


def test_host_is_the_largest_thing_on_a_phone_too(site: Site, tab: Page) -> None:
    """Petelka et al.: the eye must land on the host."""
    tab.set_viewport_size({"width": 320, "height": 640})
    tab.goto(f"{site.address}warning")
    script = "all => all.map(one => parseFloat(getComputedStyle(one).fontSize))"
    host = tab.locator(".host strong").evaluate_all(script)[0]
    assert host >= max(tab.locator("h1, p:not(.host), li, button, code").evaluate_all(script))
    box = tab.locator(".host").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 640, "seen without scrolling"


@pytest.mark.parametrize(("button", "do"), [("proceed", "proceed"), ("report", "report")])
def test_buttons_send_what_the_click_expects(site: Site, browser: Browser, button: str, do: str) -> None:
    """Without script; the answer keeps the language."""
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    site.posted.clear()
    tab.goto(f"{site.address}warning?lang=fr")
    tab.locator(f"button.{button}").click()
    assert tab.locator("body").inner_text() == "done"
    assert site.posted == [(f"/u/{BASE.action_path}?lang=fr", f"do={do}&nonce={BASE.nonce}")]
    context.close()


def test_switch_of_language_without_script(site: Site, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{site.address}blocked")
    tab.get_by_role("link", name="العربية").click()
    assert tab.locator("html").get_attribute("dir") == "rtl"
    host, main = tab.locator(".host").bounding_box(), tab.locator("main").bounding_box()
    assert host is not None
    assert main is not None
    assert host["x"] >= main["x"]
    context.close()


def test_by_keyboard(site: Site, tab: Page) -> None:
    """Report comes before going on."""
    tab.goto(f"{site.address}warning")
    reached = []
    for _ in range(8):
        tab.keyboard.press("Tab")
        reached.append(str(tab.evaluate("document.activeElement.className")))
    assert reached.index("report") < reached.index("proceed")


def test_the_address_is_copied_whole(site: Site, tab: Page) -> None:
    """A click selects all of it, and nothing opens."""
    tab.goto(f"{site.address}warning")
    before = tab.url
    tab.locator(".url").click()
    assert tab.evaluate("getSelection().toString().trim()") == BASE.url
    assert tab.url == before


def test_the_host_is_copied_as_it_is(site: Site, tab: Page) -> None:
    tab.goto(f"{site.address}warning")
    tab.evaluate("getSelection().selectAllChildren(document.querySelector('.host'))")
    assert tab.evaluate("getSelection().toString()") == BASE.host


def test_on_paper(site: Site, tab: Page) -> None:
    tab.goto(f"{site.address}warning")
    tab.emulate_media(media="print")
    assert not tab.locator(".buttons").is_visible()
    assert not tab.locator("nav").is_visible()
    assert tab.locator(".host").is_visible()
    assert tab.locator(".reference").is_visible()

"""The console in a real Chromium, over a real service, walked as an analyst would walk it.

Invariants: from an alert's link to the block in under ten actions, and the block holds for the next click; every page, by day
and by night, wide and narrow, in each language: axe finds nothing, nothing is wider than the window, our own policy blocks
nothing; filters stand in the URL; what is copied is no link; everything can be reached by keyboard; without script the pages
still work.

With `TOC_SHOTS` set, a picture of each page is left in that folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.e2e.conftest import READER, TOC, Service, start, stop
from tests.e2e.test_pages_browser import AXE_RUN, axe, browser, width_of
from tests.e2e.test_pages_browser import RULES as RULES_OF_AXE

__all__ = ["axe", "browser"]

PASSWORD = "a long enough pass phrase"
EVIL = "https://login.evil-bank.example/reset?token=s3cr3t-t0k3n&user=alice"
HOSTILE = "<img src=x onerror=alert(1)>\u202egpj.exe"
RULES = """
[[policy.rules]]
name = "finance"
recipient = ["finance@example.com"]
profile = "strict"

[[reputation.feeds]]
name = "own-list"
url = "own.txt"
format = "url_list"
level = "suspicious"
"""

VIEWS = (
    "/", "/?span=30d", "/clicks", "/clicks?action=block&sender=a@sender.example", "/messages", "/reports",
    "/reports?state=closed", "/objects", "/lists", "/policy",
    f"/policy?url={quote(EVIL, safe='')}&recipient=finance%40example.com", "/keys", "/audit", "/account", "/nowhere",
)  # fmt: skip


def as_user(service: Service, name: str, role: str) -> None:
    command = [*TOC, "users", "add", name, "--role", role, "--password-stdin", "--config", str(service.settings)]
    subprocess.run(command, input=PASSWORD, text=True, check=True, capture_output=True)


def mail(subject: str, url: str) -> bytes:
    head = f"From: a@sender.example\r\nSubject: {subject}\r\nMessage-ID: <{time.time_ns()}@sender.example>\r\n"
    kind = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return f"{head}{kind}See {url} now\r\n".encode()


def press(service: Service, link: str, do: str) -> None:
    """A recipient presses a button of the page behind `link`."""
    nonces = re.findall(r'name="nonce" value="([^"]+)"', service.click(link).text)
    answer = httpx.post(link, data={"do": do, "nonce": nonces[-1]}, headers=READER)
    assert answer.status_code in (200, 303)


def add_object(service: Service, kind: str, value: str, action: str, note: str) -> None:
    asked = {"type": kind, "value": value, "action": action, "note": note, "owner": "ops"}
    service.call("POST", "/v1/objects", json=asked).raise_for_status()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("console")
    (folder / "toc").mkdir()
    (folder / "toc" / "own.txt").write_text("http://listed.example/\n")
    running = start(folder, more=RULES)
    for name, role in (("vera", "viewer"), ("ana", "analyst"), ("adam", "admin")):
        as_user(running, name, role)
    add_object(running, "domain", "phish.example", "block", "campaign 7")
    add_object(running, "domain", "odd.example", "warn", "under watch")
    add_object(running, "domain", "partner.example", "allow", "=HYPERLINK(1)")
    running.call("POST", "/v1/lists/own-list/refresh").raise_for_status()
    time.sleep(1.0)  # every worker knows within a second
    sent = [
        ("Invoice", EVIL, "reader@example.com"),
        ("ご請求書のご案内", "https://phish.example/pay?id=42", "reader@example.com"),
        (HOSTILE, "https://odd.example/x", "finance@example.com"),
        ("Minutes", "https://partner.example/", "boss@example.com"),
        ("Listed", "http://listed.example/", "reader@example.com"),
    ]
    links = []
    for subject, url, recipient in sent:
        answer = running.rewrite(mail(subject, url), recipient, Accept="application/json")
        links.append(answer.json()["receipt"][0]["link"])
    for link in links:
        running.click(link)
    press(running, links[2], "report")
    press(running, links[4], "proceed")
    yield running
    assert stop(running) == 0


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    yield found
    found.close()


@pytest.fixture
def tab(context: BrowserContext) -> Iterator[Page]:
    """One tab; what its console complains about fails the test, but for a page that was asked for to be refused."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 404" not in message.text:
            complaints.append(message.text)

    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []


def sign_in(tab: Page, service: Service, name: str, place: str = "/") -> None:
    tab.goto(f"{service.admin}/console{place}")
    tab.get_by_label("Name").fill(name)
    tab.get_by_label("Password").fill(PASSWORD)
    tab.get_by_label("Password").press("Enter")
    tab.wait_for_url(f"{service.admin}/console{place}")


def in_language(service: Service, tab: Page, code: str) -> None:
    tab.goto(f"{service.admin}/console/account")
    tab.locator("select[name=language]").select_option(code)
    tab.locator("form[action$=view] button").click()
    expect(tab.locator("html")).to_have_attribute("lang", code)


def picture(tab: Page, name: str) -> None:
    if os.environ.get("TOC_SHOTS"):
        tab.screenshot(path=Path(os.environ["TOC_SHOTS"], f"{name}.png"), full_page=True)


def name_of(view: str) -> str:
    return re.sub(r"\W+", "-", view.partition("=")[0]).strip("-")[:24] or "overview"


@pytest.mark.parametrize(("language", "width"), [("en", 1280), ("ja", 320)])
def test_every_page_fits_and_axe_finds_nothing(
    service: Service, tab: Page, axe: str, language: str, width: int
) -> None:
    """By night only the colours differ."""
    sign_in(tab, service, "adam")
    in_language(service, tab, language)
    tab.set_viewport_size({"width": width, "height": 800})
    found = service.clicks(recipient="finance@example.com")[0]
    for view in (*VIEWS, f"/clicks/{found['id']}", f"/messages/{found['message_ref']}"):
        tab.goto(f"{service.admin}/console{view}")
        assert width_of(tab) <= width, view
        tab.evaluate(axe)
        for scheme, rules in RULES_OF_AXE.items():
            tab.emulate_media(color_scheme=scheme)
            assert tab.evaluate(AXE_RUN, rules) == [], (view, scheme)
            picture(tab, f"{name_of(view)}-{language}-{width}-{scheme}")
        tab.emulate_media(color_scheme="light")
    in_language(service, tab, "en")

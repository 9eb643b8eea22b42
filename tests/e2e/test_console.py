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
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect
from typer.testing import CliRunner

from tests.e2e.conftest import READER, SETTLED, Service, nonce_in, start, stop
from tests.e2e.test_pages_browser import AXE_RUN, browser, width_of
from tests.e2e.test_pages_browser import RULES as RULES_OF_AXE
from toc import cli

__all__ = ["browser"]

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

[[reputation.dns]]
name = "dead-list"
zone = "dbl.test"
nameserver = "127.0.0.1:9"

[reputation.apex_central]
url = "http://127.0.0.1:9"
application_id = "app"
api_key = "key"
"""
"""Nobody answers at the DNS list, nor at Apex Central: that is shown, and stops no click."""

VIEWS = (
    "/", "/?span=30d", "/hits", "/clicks", "/clicks?action=block&sender=a@sender.example", "/messages", "/reports",
    "/reports?state=closed", "/objects", "/objects/import", "/lists", "/policy",
    f"/policy?url={quote(EVIL, safe='')}&recipient=finance%40example.com", "/keys", "/audit", "/account", "/nowhere",
)  # fmt: skip


def recorded(service: Service, **filters: str) -> dict[str, object]:
    """The newest click that fits: on a busy machine it may have gone by the spool."""
    end = time.monotonic() + 15
    while not (found := service.clicks(**filters)):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found[0]


def convicted(service: Service, entry: str) -> None:
    """Until the record was looked back at: a click, and the link that its reader holds."""
    end = time.monotonic() + 30
    while [each["entry"] for each in service.call("GET", "/v1/hits").json()["hits"]].count(entry) < 2:
        assert time.monotonic() < end
        time.sleep(0.2)


def as_user(service: Service, name: str, role: str) -> None:
    command = ["users", "add", name, "--role", role, "--password-stdin", "--config", str(service.settings)]
    assert CliRunner().invoke(cli.app, command, input=PASSWORD).exit_code == 0


def mail(subject: str, url: str) -> bytes:
    head = f"From: a@sender.example\r\nSubject: {subject}\r\nMessage-ID: <{time.time_ns()}@sender.example>\r\n"
    kind = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return f"{head}{kind}See {url} now\r\n".encode()


def press(service: Service, link: str, do: str) -> None:
    """A recipient presses a button of the page behind `link`."""
    answer = httpx.post(link, data={"do": do, "nonce": nonce_in(service.click(link).text)}, headers=READER)
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
    time.sleep(SETTLED)
    sent = [
        ("Invoice", EVIL, "reader@example.com"),
        ("ご請求書のご案内", "https://phish.example/pay?id=42", "reader@example.com"),
        (HOSTILE, "https://odd.example/x", "finance@example.com"),
        ("Minutes", "https://partner.example/", "boss@example.com"),
        ("Listed", "http://listed.example/", "reader@example.com"),
        ("Late", "https://late.example/x?k=1", "reader@example.com"),
    ]
    links = []
    for subject, url, recipient in sent:
        answer = running.rewrite(mail(subject, url), recipient, Accept="application/json")
        links.append(answer.json()["receipt"][0]["link"])
    for link in links:
        running.click(link)
    press(running, links[2], "report")
    press(running, links[4], "proceed")
    recorded(running, event="proceeded")
    recorded(running, event="reported")
    recorded(running, host="late.example")
    add_object(running, "domain", "late.example", "block", "known too late")
    convicted(running, "late.example")
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
    found = recorded(service, recipient="finance@example.com")
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


def test_from_an_alert_to_the_block(service: Service, tab: Page) -> None:
    """What the alert links to is one click; the block holds for the next one. Each `act` is something a person does."""
    actions = 0

    def act(what: object) -> None:
        nonlocal actions
        actions += 1

    link = service.link("https://fresh-evil.example/login?session=abc", recipient="reader@example.com")
    assert service.click(link).status_code == 302
    found = recorded(service, host="fresh-evil.example")
    act(tab.goto(f"{service.admin}/console/clicks/{found['id']}"))
    act(tab.get_by_label("Name").fill("ana"))
    act(tab.get_by_label("Password").fill(PASSWORD))
    act(tab.get_by_role("button", name="Sign in").click())
    expect(tab.get_by_role("heading", level=1)).to_contain_text("fresh-evil.example")
    expect(tab.locator("main")).to_contain_text("reader@example.com")
    expect(tab.locator("main")).not_to_contain_text("session=abc")
    act(tab.get_by_role("link", name="Block this host").click())
    expect(tab.locator("#check")).to_contain_text("1 were let through and would have been stopped")
    act(tab.get_by_role("button", name="Add", exact=True).click())
    expect(tab.locator(".done")).to_contain_text("Added")
    assert actions < 10
    service.page(link, 403)
    tab.goto(f"{service.admin}/console/clicks/{found['id']}")
    expect(tab.locator("section", has_text="The same click now")).to_contain_text("blocked")


def test_filters_stand_in_the_url_and_update_as_one_types(service: Service, tab: Page) -> None:
    sign_in(tab, service, "vera", "/clicks")
    tab.get_by_label("Part of the URL").press_sequentially("phish[.]exam", delay=20)
    expect(tab.locator("#results tbody tr")).to_have_count(1)
    assert parse_qs(urlsplit(tab.url).query) == {"url": ["phish[.]exam"]}
    expect(tab.locator("#results")).to_contain_text("ご請求書のご案内")
    expect(tab.locator("#found")).to_have_text("Rows found: 1")
    tab.get_by_label("Action").select_option("allow")
    expect(tab.locator("#results")).to_contain_text("No click fits these filters.")
    assert parse_qs(urlsplit(tab.url).query) == {"url": ["phish[.]exam"], "action": ["allow"]}
    tab.reload()
    expect(tab.get_by_label("Action")).to_have_value("allow")
    tab.go_back()
    expect(tab.locator("#results tbody tr")).to_have_count(1)
    tab.get_by_text("More filters").click()
    tab.get_by_label("Client network").fill("nonsense")
    expect(tab.locator("#results")).to_contain_text("These filters were not understood.")


def test_a_day_is_a_day_where_the_viewer_is(service: Service, tab: Page) -> None:
    """The browser is in Tokyo: times are Tokyo's, UTC is in the hint, and a filter says which zone it means."""
    sign_in(tab, service, "vera", "/clicks")
    moment = tab.locator("#results time").first
    hint, shown = moment.get_attribute("title"), moment.inner_text()
    assert hint is not None
    assert hint.endswith(" UTC")
    assert (int(shown[11:13]) - int(hint[11:13])) % 24 == 9
    tab.get_by_label("From").fill("2026-01-01T00:00")
    expect(tab).to_have_url(re.compile(r"zone=Asia%2FTokyo"))


def test_what_is_copied_is_no_link(service: Service, context: BrowserContext, tab: Page) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=service.admin)
    sign_in(tab, service, "vera", "/clicks?host=login.evil-bank.example")
    tab.locator("#results button.copy").first.click()
    expect(tab.locator("#said")).to_contain_text("Copied")
    copied = tab.evaluate("navigator.clipboard.readText()")
    assert copied == "hxxps://login[.]evil-bank[.]example/reset?token=•••&user=•••"


def test_revealing(service: Service, tab: Page) -> None:
    sign_in(tab, service, "ana", "/clicks?host=login.evil-bank.example")
    tab.locator("#results td.time a").first.click()
    expect(tab.locator("main")).not_to_contain_text("s3cr3t-t0k3n")
    tab.get_by_role("button", name="Reveal the hidden values").click()
    expect(tab.locator("main")).to_contain_text("token=s3cr3t-t0k3n&user=alice")


def test_an_entry_that_reaches_far_is_asked_about_twice(service: Service, tab: Page) -> None:
    sign_in(tab, service, "ana", "/objects")
    tab.get_by_label("Value", exact=True).press_sequentially("co.uk", delay=20)
    expect(tab.locator("#check")).to_contain_text("This reaches far:")
    tab.get_by_role("button", name="Add", exact=True).click()
    expect(tab.get_by_role("alert")).to_contain_text("co.uk covers every domain")
    expect(tab.locator("#results")).not_to_contain_text("co.uk")
    tab.get_by_label("Value", exact=True).fill("shop.co.uk")
    tab.get_by_label("I want this all the same").check()
    tab.get_by_role("button", name="Add", exact=True).click()
    row = tab.locator("#results tbody tr", has_text="shop.co.uk")
    row.locator("summary").click()
    row.get_by_role("button", name="Delete it").click()
    expect(tab.locator(".done")).to_contain_text("Deleted")
    expect(tab.locator("#results")).not_to_contain_text("shop.co.uk")


LIST = """type,value,action,note
domain,imported.example,log,"from a colleague
in two lines"
ip,nonsense,block,
domain,com.au,log,a whole country
"""


def test_a_list_is_taken_in_from_a_file_and_given_out(service: Service, tab: Page, axe: str) -> None:
    sign_in(tab, service, "ana", "/objects")
    tab.get_by_role("link", name="Import a list").click()
    chooser, field = tab.get_by_label("Choose a file"), tab.get_by_label("The list, as text")
    for body, why in (
        (b"x" * 2_000_001, "This file is too long."),
        (b"\xff\xfe\x00", "This file is no text in UTF-8."),
    ):
        chooser.set_input_files({"name": "list.csv", "mimeType": "text/csv", "buffer": body})
        expect(tab.get_by_role("alert")).to_contain_text(why)
        expect(field).to_have_value("")
    chooser.set_input_files({"name": "list.csv", "mimeType": "text/csv", "buffer": LIST.encode()})
    expect(tab.get_by_role("alert")).to_be_hidden()
    expect(field).to_have_value(LIST)
    tab.get_by_role("button", name="Import").click()
    expect(tab.locator("[role=status] dd")).to_have_text(["1", "0", "1", "1"])
    expect(tab.locator("main")).to_contain_text("line 4: value 'nonsense'")
    expect(tab.get_by_role("alert")).to_contain_text("com.au covers every domain")
    tab.set_viewport_size({"width": 320, "height": 800})
    assert width_of(tab) <= 320
    tab.evaluate(axe)
    for scheme, rules in RULES_OF_AXE.items():
        tab.emulate_media(color_scheme=scheme)
        assert tab.evaluate(AXE_RUN, rules) == [], scheme
        picture(tab, f"imported-en-320-{scheme}")
    tab.get_by_label("I want this all the same").check()
    tab.get_by_role("button", name="Import").click()
    expect(tab.locator("[role=status] dd")).to_have_text(["1", "0", "0", "0"])
    tab.goto(f"{service.admin}/console/objects")
    expect(tab.locator("#results tbody tr", has_text="imported.example")).to_contain_text("from a colleague")
    for form, suffix in (("CSV", "csv"), ("STIX", "json")):
        with tab.expect_download() as coming:
            tab.get_by_role("link", name=f"Export as {form}").click()
        assert coming.value.suggested_filename == f"objects.{suffix}"
        assert "imported.example" in coming.value.path().read_text()


def test_from_a_retrospective_hit_to_the_click_and_the_mail(service: Service, tab: Page) -> None:
    sign_in(tab, service, "vera")
    tab.get_by_role("link", name="Retrospective hits of the last 24 hours:").click()
    rows = tab.locator("tbody tr", has_text="late.example")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("reader@example.com")
    rows.get_by_role("link", name="clicked").click()
    expect(tab.get_by_role("heading", level=1)).to_contain_text("late.example")
    expect(tab.locator("main")).to_contain_text("accused later")
    tab.go_back()
    tab.locator("tbody tr", has_text="link held").filter(has_text="late.example").get_by_role("link").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Late")
    tab.get_by_role("navigation").get_by_role("link", name="Hits").click()
    expect(tab.get_by_role("navigation").locator("[aria-current]")).to_have_text("Hits")


def test_a_live_source_that_is_silent_is_shown(service: Service, tab: Page) -> None:
    sign_in(tab, service, "vera")
    for _ in range(30):  # workers tell every two seconds
        tab.reload()
        told = tab.locator("section", has_text="Sources").locator("li", has_text="dead-list")
        if told.locator(".badge.warn, .badge.block").count():
            break
        tab.wait_for_timeout(500)
    told.get_by_role("link", name="dead-list").click()
    row = tab.locator("section", has_text="Live sources").locator("tbody tr", has_text="dead-list")
    expect(row).to_contain_text(re.compile("silent|left alone"))
    expect(row.locator("td").nth(5)).to_contain_text(re.compile(r"\w+.*\d{4}-\d\d-\d\d", re.DOTALL))
    assert int(row.locator("td").nth(4).inner_text()) > 0
    metrics = service.call("GET", "/metrics").text
    assert 'toc_source_answers_total{outcome="silent",source="dead-list"}' in metrics
    assert 'toc_source_open{source="dead-list"}' in metrics
    assert 'toc_apex_central_failed{server="http://127.0.0.1:9"} 1.0' in metrics


def test_a_report_is_worked_through(service: Service, tab: Page) -> None:
    sign_in(tab, service, "ana", "/reports")
    expect(tab.locator(".report")).to_have_count(1)
    tab.get_by_label("harmful").check()
    tab.get_by_label("Note").fill("same campaign")
    tab.get_by_role("button", name="Close the report").click()
    expect(tab.locator("main")).to_contain_text("No report is waiting.")
    tab.get_by_role("link", name="Closed").click()
    expect(tab.locator(".report")).to_contain_text("harmful: same campaign ana")


def test_by_keyboard_alone(service: Service, tab: Page) -> None:
    """The first stop leads past the navigation; every stop can be seen."""
    sign_in(tab, service, "ana", "/clicks")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.name") == "recipient"
    unseen = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        if not tab.evaluate("(one => one === document.body || one.checkVisibility())(document.activeElement)"):
            unseen.append(tab.evaluate("document.activeElement.outerHTML"))
    assert unseen == []


def test_without_script(service: Service, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    sign_in(tab, service, "ana", "/clicks")
    tab.get_by_label("Domain").fill("phish.example")
    tab.get_by_role("button", name="Search").click()
    assert tab.locator("#results tbody tr").count() >= 1
    assert "domain=phish.example" in tab.url
    tab.goto(f"{service.admin}/console/objects/import")
    assert not tab.get_by_label("Choose a file").is_visible()
    tab.get_by_label("The list, as text").fill("type,value,action\ndomain,pasted.example,log\n")
    tab.get_by_role("button", name="Import").click()
    assert tab.locator("[role=status] dd").all_inner_texts() == ["1", "0", "0", "0"]
    tab.goto(f"{service.admin}/console/")
    tab.get_by_text("The same as a table").click()
    assert tab.locator("#figures tbody tr").count() == 24
    tab.get_by_role("button", name="Sign out").click()
    assert "/sign-in" in tab.url
    context.close()


def test_a_session_calls_as_its_role_may(service: Service, tab: Page) -> None:
    """The management calls take a session in place of a key; what changes something needs its token and our Origin."""
    asked = {"type": "domain", "value": "by-session.example", "action": "log"}
    for name, expected in (("vera", 403), ("ana", 201)):
        tab.context.clear_cookies()
        sign_in(tab, service, name)
        cookies = {each["name"]: each["value"] for each in tab.context.cookies()}
        token = tab.locator("meta[name=csrf]").get_attribute("content")
        with httpx.Client(base_url=service.admin, cookies=cookies) as caller:
            assert caller.get("/v1/lists").status_code == 200
            told = caller.get("/v1/clicks?host=login.evil-bank.example")
            assert told.status_code == (200 if name == "ana" else 403)
            assert ("s3cr3t" in told.text) is (name == "ana")
            whole = {"Origin": service.admin, "X-CSRF-Token": str(token)}
            for missing in whole:
                headers = {key: value for key, value in whole.items() if key != missing}
                assert caller.post("/v1/objects", json=asked, headers=headers).status_code == 403
            assert caller.post("/v1/objects", json=asked, headers=whole).status_code == expected
            assert caller.post("/v1/links/open", json={"link": "x"}, headers=whole).status_code == 403
    assert httpx.get(f"{service.admin}/v1/clicks").status_code == 401
    tab.context.clear_cookies()
    sign_in(tab, service, "adam", "/audit")
    row = tab.locator("tbody tr", has_text="clicks_revealed")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("user:ana")


def test_charts_say_what_their_table_says(service: Service, tab: Page) -> None:
    sign_in(tab, service, "vera")
    expect(tab.locator(".chart canvas")).to_have_count(4)
    table = "rows => rows.map(row => [...row.children].slice(1).map(cell => Number(cell.textContent)))"
    rows = tab.locator("#figures tbody tr").evaluate_all(table)
    totals = [int(text) for text in tab.locator(".tile .total").all_inner_texts()]
    assert [sum(row[place] for row in rows) for place in range(4)] == totals
    assert sum(totals) == len([each for each in service.clicks() if each["event"] != "reported"])

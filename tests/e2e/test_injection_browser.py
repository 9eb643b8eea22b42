"""Script injection through every part of a URL, of a mail and of a request, looked for in Chromium.

Invariants, on each page: nothing of it runs, nothing of it becomes an element, an attribute or a request; no link or form of
the page leads to another host; the browser's own account of our policy is silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.conftest import require_program
from tests.e2e.conftest import Service

SCRIPT = "<script>document.title='PWNED'</script>"
PAYLOADS = {
    "path": f"http://HOST/{SCRIPT}",
    "path, closing an attribute": "http://HOST/\"onmouseover=\"document.title='PWNED'\"autofocus/onfocus=\"document.title='PWNED'",
    "path, single quotes": "http://HOST/'onerror='document.title=`PWNED`",
    "query": f"http://HOST/?q=\"'>{SCRIPT}<img src=x onerror=document.title='PWNED'>",
    "query, references": "http://HOST/?q=&lt;script&gt;&#60;svg/onload=document.title='PWNED'&#62;",
    "query, encoded": "http://HOST/?q=%3Cscript%3Edocument.title='PWNED'%3C/script%3E%22%27%00",
    "fragment": f"http://HOST/#</code></p></main>{SCRIPT}",
    "userinfo": "http://\"><svg onload=document.title='PWNED'>:x@HOST/",
    "template": "http://HOST/{{7*7}}{%25 raw %25}${7*7}#{7*7}",
    "comment and style": "http://HOST/--><style>*{background:url(http://evil.example/)}</style><!--",
    "direction": "http://HOST/\u202e\u2066moc.elpmaxe\u2069/%E2%80%AE",
    "separators": "http://HOST/\u2028\u2029\u0085\ufeff\ufffd",
    "javascript in a query": "http://HOST/?next=javascript:document.title='PWNED'",
}
HOST = "inject.example"
LANGUAGES = ["", f"?lang={SCRIPT}", "?lang=\"onload=document.title='PWNED'", "?lang=ar"]

LOOK = """() => ({
    title: document.title,
    scripts: document.querySelectorAll('script, iframe, object, embed, base, meta[http-equiv=refresh], style').length,
    handlers: [...document.querySelectorAll('*')].flatMap(one => one.getAttributeNames()).filter(name => /^on/.test(name)),
    away: [...document.querySelectorAll('[href], [src], [action], [formaction]')]
        .flatMap(one => ['href', 'src', 'action', 'formaction'].filter(name => one.hasAttribute(name))
            .map(name => new URL(one.getAttribute(name), document.baseURI).host))
        .filter(host => host !== location.host),
    images: [...document.images].filter(one => new URL(one.src).host !== location.host).length,
})"""
CLEAN = {"scripts": 0, "handlers": [], "away": [], "images": 0}


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    program = require_program("chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser.new_context(java_script_enabled=True)
        browser.close()


@pytest.fixture
def tab(context: BrowserContext, service: Service) -> Iterator[Page]:
    """Fails the test for a dialog, a complaint in the console, and any request to another host."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda asked: None if asked.url.startswith(service.public) else wrong.append(asked.url))
    yield page
    page.close()
    # a page of ours that is refused (403, 404, 410) is told in the console as such
    assert [each for each in wrong if not each.startswith("Failed to load resource: the server responded")] == []


def links(service: Service, action: str) -> dict[str, str]:
    """A link for each payload, to a host of which this action is decided."""
    host = f"{action}.{HOST}"
    if action != "allow":
        service.call("POST", "/v1/objects", json={"type": "domain", "value": host, "action": action})
    found = {}
    for kind, payload in PAYLOADS.items():
        escaped = payload.replace("HOST", host).replace("&", "&amp;").replace('"', "&quot;")
        asked = {"content_type": "text/html; charset=utf-8", "body": f'<a href="{escaped}">{kind}</a>'}
        rows = service.call("POST", "/v1/rewrite", json=asked).json()["receipt"]
        if rows[0]["outcome"] == "rewritten":
            found[kind] = str(rows[0]["link"])
    service.page(found["path"], {"allow": 302, "warn": 200, "block": 403}[action])
    return found


def assert_clean(tab: Page, url: str) -> None:
    tab.goto(url)
    seen = tab.evaluate(LOOK)
    assert "PWNED" not in seen.pop("title"), url
    assert seen == CLEAN, url
    for element in tab.locator("button, a, .url, .host").all():
        element.dispatch_event("mouseover")
        element.dispatch_event("focus")
    assert "PWNED" not in tab.title(), url


@pytest.mark.parametrize(("action", "room"), [("warn", "/u/"), ("block", "/u/"), ("allow", "/p/")])
def test_nothing_of_a_target_runs(service: Service, tab: Page, action: str, room: str) -> None:
    found = links(service, action)
    assert len(found) >= len(PAYLOADS) - 1, "what is not sealed is not tested"
    for link in found.values():
        assert_clean(tab, link.replace("/u/", room))


def test_nothing_of_a_request_runs(service: Service, tab: Page) -> None:
    link = links(service, "warn")["path"]
    for language in LANGUAGES:
        for url in (
            link,
            link.replace("/u/", "/p/"),
            f"{service.public}/",
            f"{service.public}/{SCRIPT}",
            f"{link}{SCRIPT}",
        ):
            assert_clean(tab, url + language)


def test_nothing_of_a_revoked_target_runs(service: Service, tab: Page) -> None:
    link = service.link(f"http://revoked.{HOST}/?'\"<svg/onload=document.title=1>")
    assert service.call("POST", "/v1/revocations", json={"kind": "link", "value": link}).status_code == 201
    service.page(link, 410)
    assert_clean(tab, link)


def test_nothing_of_a_form_runs_or_is_shown(service: Service, tab: Page) -> None:
    asked = {"content_type": "text/html", "body": f'<form action="http://form.{HOST}/{SCRIPT}"><input name=q></form>'}
    link = service.call("POST", "/v1/rewrite", json=asked).json()["receipt"][0]["link"]
    assert_clean(tab, f"{link}?q={SCRIPT}&secret=hunter2")
    assert "hunter2" not in tab.content()


def test_nothing_of_a_mail_runs(service: Service, tab: Page) -> None:
    """Subject, names and addresses stand on no page; the link text neither."""
    service.call("POST", "/v1/objects", json={"type": "domain", "value": f"mail.{HOST}", "action": "warn"})
    mail = (
        f'From: {SCRIPT} <a@sender.example>\r\nSubject: {SCRIPT}\r\nTo: "{SCRIPT}" <b@example.com>\r\n'
        f"Message-ID: <{SCRIPT}@x>\r\nContent-Type: text/html\r\n\r\n<a href='http://mail.{HOST}/'>http://{SCRIPT}</a>\r\n"
    )
    row = service.rewrite(mail.encode(), Accept="application/json").json()["receipt"][0]
    service.page(row["link"], 200)
    assert_clean(tab, row["link"])
    assert not re.search(r"sender\.example|b@example\.com", tab.content())


def test_the_look_would_see_something(context: BrowserContext, service: Service) -> None:
    """The check looks: a page spoilt on purpose is found out."""
    tab = context.new_page()
    tab.goto(service.public + "/")
    tab.evaluate("document.body.innerHTML += '<a href=\"http://evil.example\" onclick=1>x</a><iframe></iframe>'")
    seen = tab.evaluate(LOOK)
    assert (seen["scripts"], seen["handlers"], seen["away"]) == (1, ["onclick"], ["evil.example"])
    tab.close()

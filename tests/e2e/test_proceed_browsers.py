"""Going on from a warning in real browsers, to another origin that itself redirects.

Invariants: the button leads to where the link leads, by GET and without a word of where the reader came from; our own
policy does not stop the target's redirects; the back button leads to the warning and then to the mail, and sends nothing
again.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.conftest import require_program
from tests.e2e.conftest import Service
from tests.e2e.marionette import firefox


class Browser(Protocol):
    def open(self, url: str) -> None: ...

    def press(self, selector: str) -> None: ...

    def back(self) -> None: ...

    def forward(self) -> None: ...

    @property
    def url(self) -> str: ...

    @property
    def source(self) -> str: ...


class Chromium:
    def __init__(self, page: Page) -> None:
        self._page = page

    def open(self, url: str) -> None:
        self._page.goto(url)

    def press(self, selector: str) -> None:
        self._page.locator(selector).first.click()
        self._page.wait_for_load_state()

    def back(self) -> None:
        self._page.go_back()

    def forward(self) -> None:
        self._page.go_forward()

    @property
    def url(self) -> str:
        return self._page.url

    @property
    def source(self) -> str:
        return self._page.content()


@dataclass
class Origin:
    """Another site: ``/mail`` is a web mail with a link in it, ``/start`` and ``/good`` redirect to ``/end``."""

    port: int = 0
    mail: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    def requests(self, path: str) -> list[tuple[str, dict[str, str]]]:
        return [(method, headers) for method, asked, headers in self.asked if asked.partition("?")[0] == path]


def handler(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            origin.asked.append((self.command, self.path, headers))
            path = self.path.partition("?")[0]
            where = {
                "/start": "/middle?x=1",
                "/good": "/middle?x=1",
                "/middle": f"http://127.0.0.1:{origin.port}/end",
            }.get(path)
            self.send_response(302 if where else 200)
            if where:
                self.send_header("Location", where)
            body = f'<a class="go" href="{origin.mail}">go</a>' if path == "/mail" else "<p>arrived</p>"
            raw = b"" if where else f"<!DOCTYPE html><title>x</title>{body}".encode()
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            """Nothing on the test's output."""

    return Handler


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def _chromium(stack: ExitStack, _folder: Path) -> Browser:
    program = require_program("chromium")
    playwright = stack.enter_context(sync_playwright())
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    found = playwright.chromium.launch(executable_path=program, args=arguments)
    stack.callback(found.close)
    return Chromium(found.new_page())


def _firefox(stack: ExitStack, folder: Path) -> Browser:
    return stack.enter_context(firefox(require_program("firefox-esr"), folder))


@pytest.fixture(params=[_chromium, _firefox], ids=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Browser]:
    make: Callable[[ExitStack, Path], Browser] = request.param
    with ExitStack() as stack:
        yield make(stack, tmp_path)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def link_to(service: Service, origin: Origin, path: str, action: str) -> str:
    """Objects look at no port: what is warned of needs a path of its own."""
    url = origin.address + path
    if action != "forward":
        made = service.call("POST", "/v1/objects", json={"type": "url", "value": url, "action": action})
        assert made.status_code == 201, made.text
    made = service.call("POST", "/v1/rewrite", json={"content_type": "text/html", "body": f'<a href="{url}">x</a>'})
    link = str(made.json()["receipt"][0]["link"])
    service.page(link, {"forward": 302, "warn": 200}[action])
    return link


def assert_says_nothing_of_us(origin: Origin, path: str) -> None:
    for method, headers in origin.requests(path):
        assert method == "GET"
        assert "referer" not in headers
        assert "cookie" not in headers
        assert "content-length" not in headers
        assert headers.get("origin", "null") == "null"
        assert not re.search(r"nonce|proceed|/u/", str(headers))


def test_from_the_mail_over_the_warning_to_the_target_and_back(
    service: Service, origin: Origin, browser: Browser
) -> None:
    origin.mail = link_to(service, origin, "/start", "warn")
    browser.open(f"{origin.address}/mail")
    browser.press("a.go")
    assert browser.url.startswith(origin.mail)
    assert "localhost" in browser.source
    assert origin.requests("/start") == [], "nothing is opened before the reader says so"
    browser.press("button.proceed")
    until(lambda: browser.url.endswith("/end"))
    assert browser.url == f"http://127.0.0.1:{origin.port}/end"
    assert "arrived" in browser.source
    for path in ("/start", "/middle", "/end"):
        assert len(origin.requests(path)) == 1
        assert_says_nothing_of_us(origin, path)
    browser.back()
    until(lambda: browser.url.startswith(origin.mail))
    assert "button" in browser.source
    assert len(origin.requests("/start")) == 1, "the back button sends nothing again"
    browser.back()
    until(lambda: browser.url.endswith("/mail"))
    browser.forward()
    until(lambda: browser.url.startswith(origin.mail))
    browser.press("button.proceed")
    until(lambda: browser.url.endswith("/end"))
    events = [row["event"] for row in service.clicks(host="localhost") if row["url"].startswith(origin.address)]
    assert events.count("proceeded") == 2


def test_a_good_link_leaves_no_trace_between_mail_and_target(
    service: Service, origin: Origin, browser: Browser
) -> None:
    origin.mail = link_to(service, origin, "/good", "forward")
    browser.open(f"{origin.address}/mail")
    browser.press("a.go")
    until(lambda: browser.url.endswith("/end"))
    for path in ("/good", "/middle", "/end"):
        assert len(origin.requests(path)) == 1
    for _, headers in origin.requests("/good"):
        assert "/u/" not in str(headers), "our link, with its token, is told to nobody"
    browser.back()
    until(lambda: browser.url.endswith("/mail"))

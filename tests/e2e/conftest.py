"""A whole service for tests: ``toc init`` and ``toc serve`` in a temporary folder, as an operator runs them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port

AXE = "axe-core@4.14.1"
TOC = [sys.executable, "-m", "toc.cli"]
READER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html",
    "Accept-Language": "en",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-User": "?1",
}


SETTLED = 1.5
"""Seconds. A worker looks at what it knows twice a second."""


def nonce_in(page: str) -> str:
    return re.findall(r'name="nonce" value="([^"]+)"', page)[-1]


@dataclass
class Service:
    folder: Path
    settings: Path
    public: str
    admin: str
    key: str
    process: subprocess.Popen[bytes]

    def call(self, method: str, path: str, **more) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return httpx.request(method, self.admin + path, headers=headers, timeout=30, **more)

    def rewrite(self, raw: bytes, recipient: str = "reader@example.com", **more: str) -> httpx.Response:
        headers = {
            "Content-Type": "message/rfc822",
            "Toc-Sender": "a@sender.example",
            "Toc-Recipient": recipient,
            **more,
        }
        return self.call("POST", "/v1/messages/rewrite", content=raw, headers=headers)

    def link(self, url: str, **more: str) -> str:
        """A link of ours to `url`, from a mail rewritten now."""
        mail = f"From: a@sender.example\r\nMessage-ID: <{time.time_ns()}@x>\r\n\r\nSee {url} now\r\n".encode()
        answer = self.rewrite(mail, Accept="application/json", **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["receipt"][0]["link"]

    def click(self, link: str, **more) -> httpx.Response:
        return httpx.get(link, headers={**READER, **more.pop("headers", {})}, timeout=30, **more)

    def page(self, link: str, status: int = 200) -> str:
        """What `link` shows once every worker answers with this status: nothing else came for `SETTLED` seconds."""
        end = time.monotonic() + 30
        other = time.monotonic()
        while time.monotonic() - other < SETTLED:
            answer = self.click(link)
            if answer.status_code != status:
                other = time.monotonic()
                assert other < end, answer.text
            time.sleep(0.1)
        return answer.text

    def nonce(self, link: str) -> str:
        """Of the buttons of the page behind `link`."""
        return nonce_in(self.page(link))

    def clicks(self, **filters: str) -> list[dict]:
        return self.call("GET", "/v1/clicks", params={"limit": "1000", **filters}).json()["clicks"]


def start(folder: Path, *arguments: str, more: str = "") -> Service:
    return serve(folder, *install(folder, more=more), *arguments)


def install(folder: Path, *, admin: str = "127.0.0.1:0", more: str = "") -> tuple[Path, str]:
    """A new installation that does not run yet: its settings file and an API key."""
    port = free_port()
    made = subprocess.run(
        [*TOC, "init", str(folder / "toc"), "--public-url", f"http://127.0.0.1:{port}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    settings = folder / "toc" / "toc.toml"
    text = settings.read_text().replace('public_listen = "127.0.0.1:8080"', f'public_listen = "127.0.0.1:{port}"')
    settings.write_text(text.replace('"127.0.0.1:8081"', f'"{admin}"') + more)
    return settings, made.stdout.split()[-1]


def serve(folder: Path, settings: Path, key: str, *arguments: str, before: Sequence[str] = ()) -> Service:
    """`before`: a program that becomes the service, with its own arguments."""
    ready = folder / f"ready-{time.time_ns()}"
    command = [*before, *TOC, "serve", "--config", str(settings), "--ready-file", str(ready), *arguments]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stderr=log)
    end = time.monotonic() + 60
    while not ready.exists():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < end, (folder / "log").read_text()
        time.sleep(0.05)
    found = json.loads(ready.read_text())
    admin = f"http://{found['admin']}" if "admin" in found else ""
    return Service(folder, settings, f"http://{found['public']}", admin, key, process)


def stop(service: Service) -> int:
    service.process.terminate()
    return service.process.wait(40)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = start(tmp_path_factory.mktemp("service"), "--workers", "2")
    yield running
    assert stop(running) == 0


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, by npm's own client."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, so axe-core cannot be fetched")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), AXE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install {AXE}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests that only rewrite and restore through it."""
    running = start(tmp_path_factory.mktemp("standing"), "--workers", "1")
    yield running
    assert stop(running) == 0

"""A running service and its receivers: each click is pushed, who went on past a warning is told of, across a kill."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import READER, TOC, Service, install, serve, stop
from toc.commands.doctor import PUSH_FAILURES


@dataclass
class Hooks:
    """A webhook; `bodies` by path."""

    port: int = 0
    well: bool = True
    refused: int = 0
    bodies: dict[str, list[str]] = field(default_factory=lambda: {"/clicks": [], "/alerts": []})

    def lines(self, path: str) -> list[dict]:
        return [json.loads(line) for body in self.bodies[path] for line in body.splitlines()]


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    found = Hooks()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if found.well and self.headers["toc-signature"].startswith("t="):
                found.bodies[self.path].append(body)
            found.refused += not found.well
            self.send_response(204 if found.well else 503)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """The test's output stays clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def proceed(service: Service, link: str) -> None:
    assert httpx.post(link, data={"do": "proceed", "nonce": service.nonce(link)}, headers=READER).status_code == 303


def test_clicks_and_alerts_reach_their_receivers_and_a_kill_loses_none(tmp_path: Path, hooks: Hooks) -> None:
    base = f"http://127.0.0.1:{hooks.port}"
    more = f'\n[[push]]\nname = "siem"\nto = "{base}/clicks"\nsecret = "s"\nbacklog = true\n'
    more += f'\n[alerts]\nwebhook = "{base}/alerts"\nwebhook_secret = "s"\n'
    settings, key = install(tmp_path, more=more)
    service = serve(tmp_path, settings, key)
    service.call("POST", "/v1/objects", json={"type": "domain", "value": "warned.example", "action": "warn"})
    first, second = service.link("https://plain.example/a"), service.link("https://warned.example/b?token=s3cret")
    assert service.click(first).status_code == 302
    proceed(service, second)
    until(lambda: len(hooks.lines("/clicks")) >= 3 and hooks.lines("/alerts"))
    (alert,) = hooks.lines("/alerts")
    assert (alert["alert"], alert["hosts"]) == (["proceeded"], ["warned.example"])
    assert "s3cret" not in json.dumps(alert)

    hooks.well = False
    assert service.click(first).status_code == 302
    until(lambda: hooks.refused > 1)
    assert PUSH_FAILURES in doctor(settings)
    service.process.kill()
    service.process.wait(20)
    hooks.well = True
    service = serve(tmp_path, settings, key)
    assert service.click(first).status_code == 302
    until(lambda: {line["id"] for line in hooks.lines("/clicks")} == {line["id"] for line in service.clicks()})
    assert [line["event"] for line in service.clicks(host="plain.example")] == ["forwarded"] * 3
    assert stop(service) == 0


def doctor(settings: Path) -> str:
    done = subprocess.run([*TOC, "doctor", "--config", str(settings)], capture_output=True, text=True, check=False)
    return " ".join(done.stdout.split())

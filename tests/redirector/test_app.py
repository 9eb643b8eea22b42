"""The public listener's application: whatever goes wrong behind it, there is an answer with the headers of every answer."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import pytest

from redirector.app import App, Limits
from redirector.branding import Branding
from redirector.headers import PLAIN
from redirector.pages import Renderer
from redirector.protocol import ANSWER
from redirector.rate import RateLimiter
from toc.config import Config, Service


class Broken:
    """A road that fails wherever it is entered."""

    def without_prefix(self, path: str) -> str:
        return path

    async def answer(self, *_: object, **__: object) -> None:
        raise RuntimeError

    def begin(self, *_: object) -> bool:
        raise RuntimeError


def app_of(service: Service) -> App:
    limits, bad = Limits(1, ()), RateLimiter(1.0, 1, ())
    return App(Broken(), Renderer(Branding()), Config(service=service), limits, bad)


async def ask(app: App, path: bytes) -> MutableMapping[str, Any]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "raw_path": path, "query_string": b"", "headers": [], "client": None}
    await app({**scope, "extensions": {ANSWER: {}}}, receive, send)
    return sent[0]


@pytest.mark.parametrize("path", [b"/u/a.example/1x", b"/p/a.example/1x"])
async def test_a_road_that_fails_is_answered_and_holds_no_place(path: bytes) -> None:
    app = app_of(Service())
    for _ in range(3):
        answer = await ask(app, path)
        assert answer["status"] == 500
        for name, value in PLAIN:
            assert answer["head"].count(name + b": " + value) == 1


@pytest.mark.parametrize(
    ("service", "contact"),
    [
        (Service(public_url="https://l.example/x", security_contact="mailto:s@l.example"), b"mailto:s@l.example"),
        (Service(public_url="https://l.example/x"), b"https://l.example/x/"),
        (Service(public_url="https://l.example/"), b"https://l.example/"),
    ],
)
async def test_security_txt_names_somebody(service: Service, contact: bytes) -> None:
    """RFC 9116, section 2.5: Contact and Expires must be there."""
    answer = await ask(app_of(service), b"/.well-known/security.txt")
    assert answer["status"] == 200
    assert answer["body"].startswith(b"Contact: " + contact + b"\nExpires: ")


async def test_without_any_contact_there_is_no_security_txt() -> None:
    assert (await ask(app_of(Service()), b"/.well-known/security.txt"))["status"] == 404

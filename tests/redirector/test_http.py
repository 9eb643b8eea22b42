"""Requests and answers as plain values.

Invariants: a location is one header line, whatever the target; every answer bears the safety headers; a form is read
only when it is small, whole, in time and urlencoded, and then gives each field that came once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector import http
from redirector.headers import SAFETY_HEADERS, header_lines
from redirector.http import MAX_BODY, Answer, Request, form, redirect, send, text
from toc.errors import BadUrl
from toc.url import parse

FORM = b"application/x-www-form-urlencoded"


def request(chunks: Sequence[bytes | None], content_type: bytes = FORM) -> Request:
    """A POST whose body comes in these pieces; None: the client has gone."""
    waiting = list(chunks)

    async def receive() -> dict[str, object]:
        if not waiting:
            await asyncio.sleep(3600)
        piece = waiting.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": piece != chunks[-1]}

    return Request("POST", "/u/h/t", "", {b"content-type": content_type}, "203.0.113.1", receive)


@given(
    st.text(max_size=80),
    st.sampled_from(["https://h.example/", "http://h.example/?q=", "https://h.example/#", "http://u@"]),
)
def test_a_location_is_one_line(rest: str, start: str) -> None:
    try:
        target = parse(start + rest).href
    except BadUrl:
        return
    lines = redirect(target).head.split(b"\r\n")
    assert lines[0] == b"location: " + target.encode()
    assert len(lines) == 2 + 1 + len(SAFETY_HEADERS) + 1
    assert not any(byte < 0x21 or byte > 0x7E for byte in lines[0][10:])


@pytest.mark.parametrize(
    "answer", [redirect("https://x.example/"), redirect("http://x.example/", 303), text(405, "no")]
)
def test_every_answer_is_safe(answer: Answer) -> None:
    for name, value in SAFETY_HEADERS:
        assert answer.head.count(name + b": " + value + b"\r\n") == 1
    assert b"content-security-policy: default-src 'none'; frame-ancestors 'none'\r\n" in answer.head


@given(st.dictionaries(st.text(min_size=1, max_size=10), st.text(max_size=30), max_size=8), st.integers(1, 40))
async def test_a_form_is_read_however_it_comes(fields: dict[str, str], piece: int) -> None:
    body = urlencode(fields).encode()
    chunks = [body[place : place + piece] for place in range(0, len(body), piece)] or [b""]
    unique = [bytes([*chunk]) for chunk in chunks]
    asked = request(unique)
    sent = iter(range(len(unique)))

    async def receive() -> dict[str, object]:
        number = next(sent)
        return {"type": "http.request", "body": unique[number], "more_body": number < len(unique) - 1}

    assert await form(asked._replace(receive=receive)) == fields


@pytest.mark.parametrize(
    ("chunks", "content_type", "expected", "why"),
    [
        ([b"a=1&b=2"], FORM + b"; charset=utf-8", {"a": "1", "b": "2"}, "with a parameter"),
        ([b"a=1&a=2&b=3"], FORM, {"b": "3"}, "a field that comes twice is nobody's"),
        ([b"a=1"], b"text/plain", None, "a form of another kind"),
        ([b"a=1"], b"multipart/form-data; boundary=x", None, "files are not read"),
        ([b"a=1"], b"", None, "no type"),
        ([b"x" * MAX_BODY, b"x"], FORM, None, "too large"),
        ([b"a=1", None], FORM, None, "the client has gone"),
        ([b"&".join([b"a%d=" % number for number in range(40)])], FORM, None, "too many fields"),
        ([b"do=%00%0d%0a"], FORM, {"do": "\0\r\n"}, "controls stay data"),
    ],
)
async def test_forms(chunks: list[bytes | None], content_type: bytes, expected: object, why: str) -> None:
    assert await form(request(chunks, content_type)) == expected, why


async def test_a_form_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    asked = request([b"a=1", b"&b=2"])
    waiting = asked.receive

    async def receive() -> dict[str, object]:
        return {**await waiting(), "more_body": True}

    assert await form(asked._replace(receive=receive)) is None


@pytest.mark.parametrize(("method", "body"), [("GET", b"hello"), ("HEAD", b"")])
async def test_an_answer_goes_out_by_plain_asgi_too(method: str, body: bytes) -> None:
    sent: list[dict] = []

    async def take(message: dict) -> None:
        sent.append(message)

    await send(
        {"method": method}, take, Answer(200, header_lines((b"x", b"a: b"), (b"content-length", b"5")), b"hello")
    )
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert [tuple(line) for line in sent[0]["headers"]] == [(b"x", b"a: b"), (b"content-length", b"5")]
    assert sent[1]["body"] == body

"""Plain requests: whatever is taken for one, the parser takes for the same; every browser's click is one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.plain import Reader
from tests.conftest import ROOT

HEAD = b"GET /u/a.example/1abcx?lang=ja HTTP/1.1\r\nHost: c.example\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n\r\n"


@dataclass
class Parsed:
    """What httptools says of some bytes."""

    url: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    messages: int = 0
    parser: httptools.HttpRequestParser | None = None
    stays: bool = False

    def on_headers_complete(self) -> None:
        """Later the parser has forgotten what the connection is to become."""
        assert self.parser is not None
        self.stays = self.parser.should_keep_alive() and not self.parser.should_upgrade()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_message_complete(self) -> None:
        self.messages += 1


def assert_the_parser_agrees(data: bytes) -> None:
    found = Reader().read(data)
    if found is None:
        return
    seen = Parsed()
    parser = seen.parser = httptools.HttpRequestParser(seen)
    parser.feed_data(data)
    assert (seen.url, seen.headers, seen.messages) == (found.target, found.headers, 1)
    assert (parser.get_method(), parser.get_http_version()) == (b"GET", "1.1")
    assert seen.stays


CLIENTS = [json.loads(line) for line in (ROOT / "fixtures" / "clients.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client["name"])
def test_every_real_client_that_follows_a_link_is_read(client: dict) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in client["headers"].items())
    data = f"GET /u/a.example/1abcx HTTP/1.1\r\nHost: c.example\r\n{lines}\r\n".encode()
    close = client["headers"].get("Connection", "keep-alive").lower() != "keep-alive"
    assert (Reader().read(data) is None) == close
    assert_the_parser_agrees(data)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"GET ", b"HEAD ", "another method"),
        (b"GET ", b"get ", "methods have a case"),
        (b"GET /", b"GET http://c.example/", "absolute form, as to a proxy"),
        (b"GET /", b"GET *", "no path"),
        (b"GET ", b"\r\nGET ", "an empty line before it"),
        (b"?lang", b"#lang", "a fragment"),
        (b"?lang", b" lang", "a space in the target"),
        (b"?lang", b"\xe9lang", "no ASCII"),
        (b"?lang", b"\x00lang", "NUL"),
        (b"HTTP/1.1", b"HTTP/1.0", "ends the connection"),
        (b"HTTP/1.1", b"http/1.1", "not its name"),
        (b"Accept: */*", b"Content-Length: 0", "framed"),
        (b"Accept: */*", b"content-length:5", "framed"),
        (b"Accept: */*", b"Transfer-Encoding: chunked", "framed"),
        (b"Accept: */*", b"Expect: 100-continue", "wants an answer before"),
        (b"Accept: */*", b"Upgrade: h2c", "wants another protocol"),
        (b"Accept: */*", b"Upgrade: websocket\r\nConnection: Upgrade", "wants another protocol"),
        (b"Accept: */*", b"Connection: close\r\nConnection: keep-alive", "wants an end, and takes it back"),
        (b"Accept: */*", b"Connection: close", "wants an end"),
        (b"Accept: */*", b"Connection: keep-alive, Upgrade", "wants more"),
        (b"Accept: */*", b"Proxy-Connection: close", "wants an end, in old words"),
        (b"Accept: */*", b"Accept : */*", "white space before the colon"),
        (b"Accept: */*", b" folded: x", "a folded line"),
        (b"Accept: */*", b"no colon", "no field"),
        (b"Accept: */*", b": nameless", "no name"),
        (b"Accept: */*", b"Accept: a\rb", "a bare CR"),
        (b"Accept: */*", b"Accept: a\nb: c", "a bare LF"),
        (b"Accept: */*", b"Accept: \x01", "a control"),
        (b"Accept: */*", b"Acc\xe9pt: x", "a name that is no token"),
        (b"\r\n\r\n", b"\r\n", "not whole"),
        (b"\r\n\r\n", b"\n\n", "other line ends"),
        (b"\r\n\r\n", b"\r\n\r\nGET /x HTTP/1.1\r\n\r\n", "two in one piece"),
        (b"\r\n\r\n", b"\r\n\r\n\r\n", "more behind it"),
    ],
)
def test_the_rest_is_left_to_the_parser(old: bytes, new: bytes, why: str) -> None:
    assert HEAD.count(old) == 1
    assert Reader().read(HEAD.replace(old, new)) is None, why


def test_of_repeated_names_the_last_counts_and_values_lose_the_space_before_them() -> None:
    found = Reader().read(
        b"GET / HTTP/1.1\r\nA: 1\r\na:\t 2\r\nB:\r\nUpgrade-Insecure-Requests: 1\r\nConnection: Keep-Alive\r\n\r\n"
    )
    assert found is not None
    assert found.headers[b"a"] == b"2"
    assert found.headers[b"b"] == b""


PIECES = [
    b"GET ",
    b"/",
    b" ",
    b"\r\n",
    b"\r",
    b"\n",
    b":",
    b"HTTP/1.1",
    b"Host",
    b"connection: ",
    b"proxy-connection: ",
    b"close",
    b"keep-alive",
]
PIECES += [
    b"upgrade: websocket\r\nconnection: upgrade",
    b"content-length: 3",
    b"transfer-encoding: chunked",
    b"\t",
    b"?",
    b"#",
    b"\x00",
    b"\x7f",
    b"\xff",
    b"\r\n\r\n",
]


def changed(data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(HEAD)))
    end = data.draw(st.integers(start, min(len(HEAD), start + 12)))
    new = b"".join(data.draw(st.lists(st.sampled_from(PIECES) | st.binary(max_size=2), max_size=3)))
    return HEAD[:start] + new + HEAD[end:]


@given(st.data())
def test_what_one_connection_sends_changes_nothing_for_the_next(data: st.DataObject) -> None:
    shared = Reader()
    for _ in range(4):
        sent = changed(data)
        assert shared.read(sent) == Reader().read(sent)
        assert shared.read(HEAD) == Reader().read(HEAD)


@given(st.data())
def test_whatever_is_read_the_parser_reads_the_same(data: st.DataObject) -> None:
    assert_the_parser_agrees(changed(data))

"""Safe Browsing v5. Invariants: nothing but 4-byte prefixes of hashes leaves the house; only an equal full hash is a match;
what the answer says that we cannot read is UNSURE, never SAFE and never UNSAFE; the server's times are kept.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.breaker import LiveSource, SourceError
from reputation.forms import Reading, forms
from reputation.http_source import Answer, HttpSource
from reputation.safe_browsing import MAX_CACHE_SECONDS, PATIENCE, SafeBrowsing, fields, hosts, read
from tests.reputation.http_server import Request, Response, http_server
from tests.reputation.safe_browsing_server import SafeBrowsingServer, message, varint
from toc.url import parse
from toc.verdict import ThreatType

KEY = {"X-Goog-Api-Key": "key-of-the-test"}
KNOWN = {
    "evil.example/": [(1, [])],
    "b.example/phish/": [(2, [])],
    "both.example/": [(1, []), (2, []), (3, [])],
    "canary.example/": [(1, [1])],
    "frame.example/": [(2, [2])],
    "new.example/": [(77, [])],
    "newer.example/": [(1, [9])],
    "new-and-known.example/": [(77, []), (4, [])],
    "unspecified.example/": [(0, [])],
    "empty.example/": [],
}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asking(server) -> AsyncIterator[tuple[LiveSource, Clock]]:
    clock = Clock()
    async with http_server(server) as base:
        wire = SafeBrowsing(HttpSource(base, headers=KEY, seconds=5.0))
        live = LiveSource(wire, clock=clock, rng=random.Random(1), patience=PATIENCE)
        yield live, clock
        await live.close()


SAID = [
    ("http://evil.example/a/b?c", [ThreatType.MALWARE], True),
    ("http://u:p@www.evil.example:81/#f", [ThreatType.MALWARE], True),
    ("http://b.example/phish/page.html?x=1", [ThreatType.PHISHING], True),
    ("http://b.example/", [], True),
    ("http://both.example/", [ThreatType.MALWARE, ThreatType.PHISHING, ThreatType.UNWANTED], True),
    ("http://canary.example/", [], True),  # known, not for enforcement
    ("http://frame.example/", [], True),  # known, and nobody navigates to it
    ("http://new.example/", [], False),  # a type that we do not know: neither yes nor no
    ("http://newer.example/", [], False),  # an attribute that we do not know
    ("http://new-and-known.example/", [ThreatType.UNWANTED], True),
    ("http://unspecified.example/", [], False),
    ("http://empty.example/", [], True),
    ("http://fine.example/", [], True),
    ("http://192.0.2.1/", [], True),
]


@pytest.mark.parametrize("protobuf", [False, True])
@pytest.mark.parametrize(("url", "threats", "answered"), SAID)
async def test_what_the_service_says(url, threats, answered, protobuf):
    async with asking(SafeBrowsingServer(KNOWN, protobuf=protobuf)) as (live, _):
        matches, sure = await live.ask(forms(parse(url)).readings, 5.0)
        assert [match.threat for match in matches] == threats
        assert sure is answered


async def test_only_prefixes_leave_the_house():
    server = SafeBrowsingServer(KNOWN)
    async with asking(server) as (live, _):
        await live.ask(forms(parse("http://secret.user.example/reset/token-1234?key=abcd")).readings, 5.0)
    (target,) = server.raw
    assert not any(word in target for word in ("secret", "user", "example", "token", "abcd", "key"))
    reading = Reading(parse("http://secret.user.example/reset/token-1234?key=abcd"))
    assert set(server.seen[0]) == {hashlib.sha256(text.encode()).digest()[:4] for text in reading.expressions}


async def test_answers_are_kept_as_long_as_the_server_says_with_and_without_a_match():
    server = SafeBrowsingServer(KNOWN, seconds=120.5)
    async with asking(server) as (live, clock):
        evil, fine = (forms(parse(f"http://{host}.example/")).readings for host in ("evil", "fine"))
        for _ in range(3):
            assert (await live.ask(evil, 5.0))[0]
            assert await live.ask(fine, 5.0) == ([], True)
        assert len(server.seen) == 2
        clock.now += 120.4
        await live.ask(evil, 5.0)
        assert len(server.seen) == 2
        clock.now += 0.2
        await live.ask(evil, 5.0)
        assert len(server.seen) == 3


async def test_another_hash_with_our_prefix_is_no_match():
    server = SafeBrowsingServer({})
    own = hashlib.sha256(b"fine.example/").digest()
    server.hashes[own[:4] + bytes(28)] = [(1, [])]
    async with asking(server) as (live, _):
        assert await live.ask(forms(parse("http://fine.example/")).readings, 5.0) == ([], True)


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500, 503, 302])
async def test_any_other_status_is_silence_and_backs_off_for_a_quarter_of_an_hour(status):
    asked = []

    def refuse(request: Request) -> Response:
        asked.append(request)
        return Response(status, headers={"Location": "http://127.0.0.1:1/"})

    async with asking(refuse) as (live, clock):
        for _ in range(3):
            assert await live.ask(forms(parse("http://evil.example/")).readings, 5.0) == ([], False)
        clock.now += 899.0
        await live.ask(forms(parse("http://evil.example/")).readings, 5.0)
        assert len(asked) == 1
        clock.now += 902.0  # 15 minutes, doubled at most by chance
        await live.ask(forms(parse("http://evil.example/")).readings, 5.0)
        assert len(asked) == 2


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>"),
        ("application/json", b"[]"),
        ("application/json", b"{"),
        ("application/json", b'{"fullHashes": [{"fullHash": "AAAA"}]}'),
        ("application/json", b'{"fullHashes": [{}]}'),
        ("application/json", b'{"fullHashes": 3}'),
        ("application/json", b'{"cacheDuration": "soon"}'),
        ("application/x-protobuf", b"\x0a\xff"),
        ("application/x-protobuf", b"\x0a\x02\x0a\x00"),
        ("application/x-protobuf", b"\x0b"),
        ("application/x-protobuf", b"\x08\x01" * 2),
    ],
)
def test_what_is_no_answer_of_this_protocol(kind, body):
    with pytest.raises(SourceError):
        read(Answer(kind, body))


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(body):
    for kind in ("application/json", "application/x-protobuf"):
        try:
            hashes, seconds = read(Answer(kind, body))
        except SourceError:
            continue
        assert all(len(digest) == 32 for digest in hashes)
        assert 0 < seconds <= MAX_CACHE_SECONDS


@given(
    st.dictionaries(
        st.text("abc./", min_size=1, max_size=5),
        st.lists(st.tuples(st.integers(0, 200), st.lists(st.integers(0, 300), max_size=3)), max_size=3),
        max_size=4,
    ),
    st.floats(1, 86400),
)
def test_both_encodings_say_the_same(known, seconds):
    server = SafeBrowsingServer(known, seconds=round(seconds, 3))
    one = read(Answer("application/json", server._json(server.hashes)))
    other = read(Answer("application/x-protobuf", server._protobuf(server.hashes)))
    assert one[0] == other[0]
    assert abs(one[1] - other[1]) < 0.001


def test_fields_of_later_versions_are_passed_over():
    later = varint(9 << 3) + varint(5) + varint(10 << 3 | 1) + bytes(8) + varint(11 << 3 | 5) + bytes(4)
    assert [number for number, _ in fields(later)] == [9, 10, 11]
    assert read(Answer("application/x-protobuf", later + message(2, b"\x08\x3c"))) == ({}, 60.0)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("example.com", ["example.com"]),
        ("a.b.example.com", ["a.b.example.com", "b.example.com", "example.com"]),
        ("a.b.c.d.e.f.example.co.uk", ["a.b.c.d.e.f.example.co.uk", "d.e.f.example.co.uk", "e.f.example.co.uk",
                                       "f.example.co.uk", "example.co.uk"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("[2001:db8::1]", ["[2001:db8::1]"]),
        ("co.uk", ["co.uk"]),
        ("localhost", ["localhost"]),
    ],
)  # fmt: skip
def test_hosts_start_from_the_registrable_domain(host, expected):
    assert hosts(host) == expected

"""Peer reputation servers: one whole service asks another one, which is itself, so that a circle would show.

Invariants: the peer learns no more than the settings say; where one server fails, the next is asked; only threats that
the peer itself stands by count; nobody asks in circles.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reputation.breaker import LiveSource
from reputation.forms import forms
from reputation.http_source import HttpSource
from reputation.peers import HEADER, Peers
from tests.e2e.conftest import TOC, Service, serve, stop
from tests.ports import free_port
from tests.reputation.bad_servers import HOW, bad_server
from tests.reputation.http_server import Request, Response, http_server
from toc.url import parse
from toc.verdict import Level, Match, MatchKind, ThreatType

PEER = """
[[reputation.peers]]
name = "itself"
servers = ["http://127.0.0.1:{port}"]
api_key = "{key}"
timeout_ms = 5000
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with objects, whose peer is itself."""
    folder = tmp_path_factory.mktemp("peer")
    port = free_port()
    made = subprocess.run(
        [*TOC, "init", str(folder / "toc"), "--public-url", "http://127.0.0.1:1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    key = made.stdout.split()[-1]
    settings = folder / "toc" / "toc.toml"
    text = settings.read_text().replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", f"127.0.0.1:{port}")
    settings.write_text(text + "\n[reputation]\ndeadline_ms = 5000\n" + PEER.format(port=port, key=key))
    running = serve(folder, settings, key)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for value, action in (
        ("evil.example", "block"),
        ("odd.example", "warn"),
        ("good.example", "allow"),
        ("seen.example", "log"),
        ("forced.example", "block"),
        ("forced.example", "override"),
    ):
        fields = {"type": "domain", "value": value, "action": action, "owner": "us", "expires": tomorrow}
        assert running.call("POST", "/v1/objects", json=fields).status_code == 201
    wait_for(lambda: verdict(running, "http://forced.example/")["level"] == "safe")  # the last one added
    yield running
    assert stop(running) == 0


def wait_for(what) -> None:
    end = time.monotonic() + 10
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def verdict(service: Service, url: str) -> dict:
    return service.call("GET", "/v1/verdict", params={"url": url}).json()


def wire(servers: list[str], key: str, **more) -> Peers:
    headers = {"Authorization": f"Bearer {key}", HEADER: "1"}
    sources = [HttpSource(base, headers=headers, seconds=0.5) for base in servers]
    return Peers("other", sources, clock=time.monotonic, rng=random.Random(1), **more)


async def ask(source: Peers, url: str) -> tuple[list[Match], bool]:
    live = LiveSource(source, clock=time.monotonic, rng=random.Random(1))
    try:
        return await live.ask(forms(parse(url)).readings, 10.0)
    finally:
        await live.close()


def test_the_peer_is_asked_and_asks_nobody_in_turn(peer):
    found = verdict(peer, "http://www.evil.example/")
    assert sorted((match["source"], match["entry"]) for match in found["matches"]) == [
        ("itself", "objects: evil.example"),
        ("objects", "evil.example"),
    ]
    assert found["silent"] == []


SAID = [
    ("evil", [(Level.DANGEROUS, MatchKind.THREAT)]),
    ("odd", [(Level.SUSPICIOUS, MatchKind.THREAT)]),
    ("good", []),
    ("seen", []),
    ("forced", []),  # its operator overrides it
    ("unknown", []),
]


@pytest.mark.parametrize(("host", "expected"), SAID)
async def test_what_counts_of_a_peers_verdict(peer, host, expected):
    matches, answered = await ask(wire([peer.admin], peer.key), f"http://{host}.example/")
    assert [(match.level, match.kind) for match in matches] == expected
    assert all(match.threat is ThreatType.SUSPICIOUS_OBJECT and match.generation for match in matches)
    assert answered


async def test_approvals_count_where_the_operator_says_so_and_never_as_overrides(peer):
    for host in ("good", "forced"):
        matches, _ = await ask(wire([peer.admin], peer.key, approvals=True), f"http://{host}.example/")
        assert {match.kind for match in matches} == {MatchKind.APPROVED}


async def test_a_wrong_key_is_silence(peer):
    assert await ask(wire([peer.admin], "toc_wrong"), "http://evil.example/") == ([], False)


@pytest.mark.parametrize("how", HOW)
async def test_the_next_server_is_asked_where_one_fails(peer, how):
    async with bad_server(how) as port:
        source = wire([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{free_port()}", peer.admin], peer.key)
        matches, answered = await ask(source, "http://evil.example/")
        assert [match.entry for match in matches] == ["objects: evil.example"]
        assert answered


async def test_a_server_that_failed_is_passed_over_while_another_answers(peer):
    asked = []

    def refuse(request: Request) -> Response:
        asked.append(request)
        return Response(503)

    async with http_server(refuse) as base:
        source = wire([base, peer.admin], peer.key)
        for number in range(5):
            found = await source.fetch((f"http://h{number}.example/",))
            assert [answer.matches for answer in found.values()] == [()]
        await source.close()
    assert len(asked) == 1


async def test_when_all_fail_the_source_is_silent():
    source = wire([f"http://127.0.0.1:{free_port()}"] * 2, "x")
    assert await ask(source, "http://evil.example/") == ([], False)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(True, "http://a.example:81/reset?token=1"), (False, "http://a.example/")],
)
async def test_the_peer_learns_what_the_settings_say(share, expected):
    asked = []

    def answer(request: Request) -> Response:
        asked.append(request)
        return Response(200, b'{"level": "untested", "matches": [], "silent": []}')

    async with http_server(answer) as base:
        assert await ask(wire([base], "key", share_url=share), "http://u:p@a.example:81/reset?token=1#f") == ([], True)
    (request,) = asked
    assert (request.path, request.query) == ("/v1/verdict", [("url", expected)])
    assert request.headers["toc-peer"] == "1"


WRONG = [
    {"level": "untested", "matches": [], "silent": ["a-list"]},  # it does not know itself
    {"level": "terrible", "matches": [], "silent": []},
    {"level": 4, "matches": [], "silent": []},
    {"level": "dangerous", "matches": [{"source": "a", "generation": "1", "entry": "e", "threat": "t", "level": "x"}],
     "silent": []},
    [],
]  # fmt: skip


@pytest.mark.parametrize("body", [*(json.dumps(row).encode() for row in WRONG), b"", b"<html>"])
async def test_what_is_no_verdict_is_silence(body):
    async with http_server(lambda _: Response(200, body)) as base:
        assert await ask(wire([base], "key"), "http://evil.example/") == ([], False)


def test_settings_that_make_no_sense_are_refused(tmp_path: Path):
    (tmp_path / "toc.toml").write_text('[[reputation.peers]]\nname = "a"\nservers = []\n')
    done = subprocess.run(
        [*TOC, "lists", "list", "--config", str(tmp_path / "toc.toml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "servers" in done.stderr

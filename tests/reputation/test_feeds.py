"""Whatever a source serves, the list in use afterwards is the last good one or a better one; and the report says why.

for every bad feed:   refresh(bad) ─▶ refused with its own reason · same generation · same answers
for every good one:   refresh(good) ─▶ a new generation · asked again: unchanged, by validator
"""

from __future__ import annotations

import hashlib
import json
import random
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from reputation.feeds import KNOWN, Feed, due, level_of, refresh
from reputation.fetch import Limits
from reputation.forms import forms
from reputation.generations import KEPT, State, open_current, read_state
from reputation.lists import Lists
from tests.reputation.feed_server import FeedServer, body_of, feed_server
from toc.errors import ConfigError
from toc.url import parse
from toc.verdict import Level, ThreatType

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {"domains": [0, 400]}
LIMITS = Limits(
    connect=2, silence=0.3, total=0.8, packed=400_000, unpacked=900_000, redirects=3, attempts=2, back_off=0.01
)
BAD = [json.loads(line) for line in Path("fixtures/bad_feeds.jsonl").read_text("utf-8").splitlines()]


def feed_of(server: FeedServer, **more: object) -> Feed:
    plain = Feed(
        "bench",
        f"{server.base}/feed",
        "domain_list",
        ThreatType.PHISHING,
        canary_hits=("d0.example",),
        canary_misses=("www.good.example",),
        max_entries=1800,
    )
    return replace(plain, **more)


@asynccontextmanager
async def served():
    async with feed_server() as server, httpx.AsyncClient(trust_env=False) as client:
        yield server, client


async def run(feed: Feed, folder: Path, client: httpx.AsyncClient, now: datetime = NOW):
    return await refresh(feed, folder, now, client, rng=random.Random(1), limits=LIMITS)


def matches(lists: Lists, url: str) -> list[str]:
    return [match.entry for match in lists.look_up(forms(parse(url)))[0]]


def test_there_are_forty_kinds_of_bad_feed():
    assert len(BAD) >= 40
    assert len({row["id"] for row in BAD}) == len(BAD)


@pytest.mark.parametrize("row", BAD, ids=lambda row: row["id"])
async def test_a_bad_feed_leaves_the_last_good_list(row, tmp_path):
    async with served() as (server, client):
        server.pages["/feed"] = {"body": GOOD}
        good = await run(feed_of(server), tmp_path, client)
        assert good.outcome == "new"
        lists = Lists.open(tmp_path, [feed_of(server)])
        before = (tmp_path / "bench" / "current").read_bytes()

        server.pages["/feed"] = row
        checksum = row.get("checksum")
        server.pages["/sum"] = {"body": {"text": checksum}}
        bad = feed_of(
            server,
            format=row.get("format", "domain_list"),
            checksum_url=f"{server.base}/sum" if checksum else "",
        )
        report = await run(bad, tmp_path, client, NOW + timedelta(hours=1))

    assert (report.outcome, report.why) == ("refused", row["why"])
    assert report.error
    assert (tmp_path / "bench" / "current").read_bytes() == before
    assert lists.reload_if_changed() == ()
    assert matches(lists, "http://sub.d7.example/x") == ["d7.example"]
    state = read_state(tmp_path / "bench")
    assert (state.why, state.success_at, state.failures) == (row["why"], NOW, 1)
    left = {path.name for path in (tmp_path / "bench").iterdir()}
    assert left == {"current", "state.json", f"{good.generation}.idx"}, "nothing aside stays behind"


async def test_a_good_feed_is_swapped_in_and_then_asked_for_by_its_validator(tmp_path):
    async with served() as (server, client):
        server.pages["/feed"] = {"body": {**GOOD, "gzip": True}, "etag": '"one"'}
        feed = feed_of(server)
        lists = Lists.open(tmp_path, [feed])
        assert lists.look_up(forms(parse("http://d3.example/")))[1:] == (("bench",), (), ())
        first = await run(feed, tmp_path, client)
        second = await run(feed, tmp_path, client, NOW + timedelta(hours=1))
        server.pages["/feed"] = {"body": {"domains": [0, 500]}, "etag": '"two"'}
        third = await run(feed, tmp_path, client, NOW + timedelta(hours=2))
    assert [report.outcome for report in (first, second, third)] == ["new", "unchanged", "new"]
    assert (first.entries, third.entries) == (400, 500)
    assert [seen.get("if-none-match") for _, seen in server.seen] == [None, '"one"', '"one"']
    assert lists.reload_if_changed() == ("bench",)
    assert matches(lists, "https://d499.example/") == ["d499.example"]


async def test_a_failed_attempt_is_repeated(tmp_path):
    async with served() as (server, client):
        server.pages["/feed"] = {"status": 503}
        await run(feed_of(server), tmp_path, client)
        assert len(server.seen) == LIMITS.attempts
        server.pages["/feed"] = {"status": 404}
        await run(feed_of(server), tmp_path, client)
    assert len(server.seen) == LIMITS.attempts + 1, "another attempt at a 404 would bring the same"


async def test_a_published_checksum_that_is_right_is_accepted(tmp_path):
    async with served() as (server, client):
        server.pages["/feed"] = {"body": {**GOOD, "gzip": True}}
        digest = hashlib.sha256(body_of(server.pages["/feed"]["body"])).hexdigest()
        server.pages["/sum"] = {"body": {"text": f"{digest}  list.gz\n"}}
        report = await run(feed_of(server, checksum_url=f"{server.base}/sum"), tmp_path, client)
    assert report.outcome == "new"


async def test_a_file_feed_needs_no_network(tmp_path):
    source = tmp_path / "list with a blank.txt"
    source.write_bytes(body_of(GOOD))
    feed = Feed("air", source.as_uri(), "domain_list")
    async with httpx.AsyncClient(trust_env=False) as client:
        first = await run(feed, tmp_path / "lists", client)
        second = await run(feed, tmp_path / "lists", client)
        source.unlink()
        third = await run(feed, tmp_path / "lists", client)
    assert [first.outcome, second.outcome, third.outcome] == ["new", "unchanged", "refused"]
    assert third.why == "unreadable"


async def test_a_misp_feed_is_collected_from_manifest_and_events(tmp_path):
    uuid = "6f1c1b2e-0000-4000-8000-000000000001"
    event = {"Event": {"Attribute": [{"type": "url", "value": "http://bad.example/x", "to_ids": True}]}}
    async with served() as (server, client):
        server.pages["/misp/manifest.json"] = {"body": {"text": json.dumps({uuid: {}})}}
        server.pages[f"/misp/{uuid}.json"] = {"body": {"text": json.dumps(event)}}
        feed = Feed("misp", f"{server.base}/misp/manifest.json", "misp_feed")
        report = await run(feed, tmp_path, client)
    assert (report.outcome, report.entries) == ("new", 1)
    assert matches(Lists.open(tmp_path, [feed]), "http://bad.example/x") == ["http://bad.example/x"]


def _indicator(number: int) -> dict:
    return {
        "type": "indicator",
        "id": f"indicator--{number}",
        "pattern_type": "stix",
        "pattern": f"[domain-name:value = 'x{number}.example']",
    }


async def test_a_taxii_collection_is_read_page_by_page(tmp_path):
    first = "/api/collections/c/objects/?limit=1000&match%5Btype%5D=indicator"
    async with served() as (server, client):
        server.pages[first] = {
            "body": {"text": json.dumps({"more": True, "next": "p2", "objects": [_indicator(1), _indicator(2)]})}
        }
        server.pages[first + "&next=p2"] = {"body": {"text": json.dumps({"objects": [_indicator(3)]})}}
        feed = Feed("taxii", f"{server.base}/api/collections/c/", "taxii")
        report = await run(feed, tmp_path, client)
        assert (report.outcome, report.entries) == ("new", 3)
        assert {headers["accept"] for _, headers in server.seen} == {"application/taxii+json;version=2.1"}
        server.pages[first + "&next=p2"] = {"body": {"text": json.dumps({"more": True, "next": "p2", "objects": []})}}
        circle = await run(feed, tmp_path, client)
    assert circle.why == "endless"


async def test_old_generations_are_swept_and_a_reader_keeps_its_own(tmp_path):
    async with served() as (server, client):
        feed = feed_of(server)
        server.pages["/feed"] = {"body": GOOD}
        await run(feed, tmp_path, client)
        reader = open_current(tmp_path / "bench")
        for step in range(1, KEPT + 3):
            server.pages["/feed"] = {"body": {"domains": [0, 400 + step]}}
            await run(feed, tmp_path, client, NOW + timedelta(hours=step))
    assert len(list((tmp_path / "bench").glob("*.idx"))) == KEPT
    assert not reader.path.exists()
    assert [hit.entry for hit in reader.find(forms(parse("http://d5.example/")).readings[0])] == ["d5.example"]


@pytest.mark.parametrize(
    ("state", "minutes", "expected"),
    [
        (State(), 0, True),
        (State(tried_at=NOW, success_at=NOW), 59, False),
        (State(tried_at=NOW, success_at=NOW), 60, True),
        (State(tried_at=NOW, failures=1), 1, True),  # sooner after a failure
        (State(tried_at=NOW, failures=3), 3, False),  # doubled for each further one
        (State(tried_at=NOW, failures=40), 60, True),  # never longer than the interval
    ],
)
def test_when_a_feed_is_due(state, minutes, expected):
    feed = Feed("a", "file:///x", "domain_list", refresh_seconds=3600)
    assert due(feed, state, NOW + timedelta(minutes=minutes)) is expected


def test_a_wrong_row_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match="url_list"):
        Feed("a", "file:///x", "csv")
    with pytest.raises(ConfigError, match="letters"):
        Feed("../a", "file:///x", "domain_list")


def test_every_known_feed_names_its_licence_and_is_off_the_threat_scale_nowhere():
    for feed in KNOWN.values():
        assert feed.licence
        assert feed.url.startswith("https://")
        assert feed.level > Level.UNTESTED
    assert level_of(ThreatType.PHISHING) is Level.DANGEROUS
    assert level_of(ThreatType.SPAM) is Level.SUSPICIOUS

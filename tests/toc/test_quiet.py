"""A remembered host changes no verdict: whatever is known of it, and whatever comes to be known, is in the next one."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reputation.generations import point_to, read_seed
from reputation.index import Entry
from reputation.index_build import build
from reputation.objects import Object, ObjectSet
from tests.reputation.installation import knowledge
from toc.knowledge import Knowledge
from toc.sightings import Sighting
from toc.token import Flag, Sealed
from toc.url import parse
from toc.verdict import Level, ThreatType

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FEED = """
[[reputation.feeds]]
name = "list"
url = "file:///none"
format = "domain_list"
[[reputation.brands]]
name = "examplebank"
domains = ["examplebank.example"]
"""
_generations = itertools.count(1)


def swap(known: Knowledge, folder: Path, *entries: Entry) -> None:
    """A new generation of the list, loaded."""
    name = f"g{next(_generations)}"
    lists = folder / "lists"
    build(entries, lists / "list" / f"{name}.idx", generation=name, seed=read_seed(lists), built_at=NOW)
    point_to(lists / "list", name)
    known.refresh(0.0)


@pytest.fixture
def known(tmp_path: Path) -> Knowledge:
    made = knowledge(tmp_path, FEED)
    swap(made, tmp_path, Entry("host", "listed.example", 1, ThreatType.PHISHING))
    return made


def verdict(known: Knowledge, url: str, seen: Sighting | None = None, **more):
    target = parse(url)
    return known.at_once(target, Sealed(target.href, NOW, **more), NOW, seen)


def test_a_quiet_host_that_comes_onto_a_list_is_found_at_the_next_click(known: Knowledge, tmp_path: Path) -> None:
    for _ in range(3):
        assert verdict(known, "https://a.shop.example/x").level is Level.UNTESTED
    for entry in (
        Entry("host", "shop.example", 1, ThreatType.MALWARE),
        Entry("url", "a.shop.example/x", 1, ThreatType.MALWARE),
    ):
        swap(known, tmp_path, entry)
        assert verdict(known, "https://a.shop.example/x").level is Level.DANGEROUS
        swap(known, tmp_path)
        assert verdict(known, "https://a.shop.example/x").level is Level.UNTESTED


def test_one_listed_page_of_a_host_is_found_though_others_were_clicked_first(known: Knowledge, tmp_path: Path) -> None:
    swap(known, tmp_path, Entry("url", "big.example/bad", 1, ThreatType.MALWARE))
    for _ in range(3):
        assert verdict(known, "https://www.big.example/good").level is Level.UNTESTED
        assert verdict(known, "https://www.big.example/bad").level is Level.DANGEROUS, "an entry covers sub-hosts"
        assert verdict(known, "https://big.example/good").level is Level.UNTESTED
        assert verdict(known, "https://big.example/bad").level is Level.DANGEROUS


@pytest.mark.parametrize(
    ("kind", "value"), [("domain", "shop.example"), ("domain", "*.shop.example"), ("url", "https://a.shop.example/x")]
)
def test_an_object_counts_at_once_and_no_longer_than_it_is_there(known: Knowledge, kind: str, value: str) -> None:
    assert verdict(known, "https://a.shop.example/x").level is Level.UNTESTED
    none = known.objects
    known.objects = ObjectSet.of([_object(kind, value)])
    for _ in range(2):
        assert verdict(known, "https://a.shop.example/x").level is Level.DANGEROUS
    known.objects = none
    assert verdict(known, "https://a.shop.example/x").level is Level.UNTESTED


def _object(kind: str, value: str) -> Object:
    return Object(
        id="1", type=kind, value=value, action="block", risk_level=None, note="", source="", owner="", created=NOW,
        expires=None,
    )  # fmt: skip


def test_a_host_seen_first_today_keeps_its_sign_though_it_is_remembered(known: Knowledge) -> None:
    day = 24 * 3600 * 1_000_000
    now = int(NOW.timestamp() * 1_000_000)
    old, new = Sighting(now - 2 * day, 1, 1), Sighting(now - day // 2, 1, 1)
    assert not verdict(known, "https://new.example/", old).signs
    assert [sign.code for sign in verdict(known, "https://new.example/", new).signs] == ["first_seen"]
    assert not verdict(known, "https://new.example/", old).signs


HOSTS = ["plain.example", "www.plain.example", "listed.example", "a.listed.example", "examp1ebank.example", "[2001:db8::1]",
         "192.0.2.1", "xn--e1awd7f.example", "eur01.safelinks.protection.outlook.com", "x.github.io"]  # fmt: skip
PATHS = ["/", "/a", "/fmlurlsvc/", "/a//b", "/%2e"]
QUERIES = [
    "",
    "?a=b",
    "?url=https%3A%2F%2Flisted.example%2F",
    "?next=http://other.example/",
    "?fewReq=:B:x&url=http%3A%2F%2Flisted.example",
]
URLS = st.builds(
    lambda user, host, port, path, query: f"https://{user}{host}{port}{path}{query}",
    st.sampled_from(["", "user@", "bank.example:x@"]),
    st.sampled_from(HOSTS),
    st.sampled_from(["", ":8443", ":81"]),
    st.sampled_from(PATHS),
    st.sampled_from(QUERIES),
)
FIRST = int((NOW - timedelta(hours=3)).timestamp() * 1_000_000)


@given(
    st.lists(st.tuples(URLS, st.booleans(), st.booleans(), st.sampled_from([None, Sighting(FIRST, 1, 1)])), max_size=12)
)
@settings(max_examples=150, deadline=None)
def test_the_verdict_is_the_one_without_a_memory(shared: Knowledge, clicks: list) -> None:
    for url, differs, other, seen in clicks:
        flags = Flag.TEXT_DIFFERS if differs else Flag(0)
        reading = "https://listed.example/" if other else None
        found = verdict(shared, url, seen, flags=flags, other=reading)
        assert found == shared.local(parse(url), NOW, other=reading, differs=differs, seen=seen)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Knowledge:
    folder = tmp_path_factory.mktemp("quiet")
    made = knowledge(folder, FEED)
    swap(made, folder, Entry("host", "listed.example", 1, ThreatType.PHISHING))
    return made

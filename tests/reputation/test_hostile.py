"""Hostile URLs: a verdict, or a refusal with its reason; never anything else. Strings of any Unicode plane up to 16 KiB,
through the whole local road: parsing, forms, lists, objects, signs, the decision, and what becomes of it on record.
"""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reputation.dns import DnsList, Nameserver
from reputation.forms import forms
from reputation.generations import point_to, read_seed
from reputation.http_source import HttpSource
from reputation.index import Entry
from reputation.index_build import build
from reputation.peers import Peers
from reputation.rpz import Rpz
from reputation.safe_browsing import SafeBrowsing
from tests.reputation.installation import installed
from toc import snapshot
from toc.errors import BadUrl
from toc.knowledge import Knowledge
from toc.policy import DEFAULT, decide
from toc.snapshot import ObjectRow
from toc.token import Sealed
from toc.url import Url, parse
from toc.verdict import Level

NOW = datetime(2026, 3, 1, tzinfo=UTC)
EXAMPLES = 20_000 if os.environ.get("TOC_LONG") else 400
MAX = 16 * 1024
SETTINGS = """
[[reputation.feeds]]
name = "bad"
url = "none"
format = "domain_list"
[[reputation.brands]]
name = "paypal"
domains = ["paypal.com"]
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Knowledge:
    """Lists and objects of every kind, so that every branch of the look-up has something to find."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    startup = installed(folder, SETTINGS)
    entries = [
        Entry("host", "evil.example", 1),
        Entry("url", "http://a.example/x/", 2),
        Entry("ip", "192.0.2.0/24", 3),
        Entry("ip", "2001:db8::/32", 4),
        Entry("host", "example", 5),
    ]
    lists = folder / "lists"
    build(entries, lists / "bad" / "g1.idx", generation="g1", seed=read_seed(lists), built_at=NOW)
    point_to(lists / "bad", "g1")
    values = {"domain": "*.example", "url": "http://a.example/?q", "ip": "192.0.2.0/25"}
    more = {"action": "log", "risk_level": None, "note": "", "source": "", "owner": "", "created": NOW, "expires": None}
    rows = tuple(ObjectRow(id=kind, type=kind, value=value, **more) for kind, value in values.items())
    snapshot.write(folder, snapshot.Snapshot(counters={"objects": 1}, objects=rows))
    return Knowledge(startup)


ANY = st.text(st.characters(), max_size=300)  # every plane, surrogates too
PIECES = st.sampled_from(
    ["http://", "https:", "//", "\\", "/", "@", ":", "?", "#", "%", "%25", "%00", "..", ".", "[", "]", "::", "0x7f.1", "xn--",
     "evil.example", "a.example", "192.0.2.1", "[2001:db8::1]", "[::ffff:192.0.2.1]", "paypa1", "例え", "\u202e", "\U000e0041",
     "\ud800", "\x00", "\t\r\n", "。", "．", "ß", "urldefense.com/v3/__", "safelinks.protection.outlook.com/?url=", "&url=",
     "a" * 300, "%C0%AF" * 50, ".a" * 200, "-" * 70]
)  # fmt: skip
HOSTILE = st.one_of(
    ANY,
    st.lists(st.one_of(PIECES, ANY), max_size=12).map("".join),
    st.lists(st.one_of(PIECES, ANY), max_size=12).map(lambda parts: "http://" + "".join(parts)),
    st.tuples(PIECES, st.integers(1, 400)).map(lambda pair: "http://a.example/" + pair[0] * pair[1]),
    st.tuples(PIECES, st.integers(1, 60)).map(lambda pair: "http://" + pair[0] * pair[1] + ".example/"),
    st.text(st.characters(min_codepoint=0x10000), max_size=200).map(
        lambda text: f"http://{text}.example/?{text}#{text}"
    ),
).map(lambda text: text[:MAX])


def parsed(text: str) -> tuple[Url | None, str]:
    """The URL, or why there is none."""
    try:
        return parse(text), ""
    except BadUrl as error:
        return None, f"{error.reason}: {error}"


@given(text=HOSTILE, other=st.one_of(st.none(), HOSTILE))
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
def test_a_verdict_or_a_refusal_with_a_reason(known, text, other):
    url, refusal = parsed(text)
    if url is None:
        assert refusal
        return
    verdict = known.local(url, NOW, other=other)
    assert verdict.level in Level
    decision = decide(Sealed(url.href, NOW), verdict, DEFAULT, now=NOW)
    assert decision.reasons
    if url.host.rstrip(".").endswith("evil.example"):
        assert verdict.level is Level.DANGEROUS
    assert parse(url.href) == url  # what was judged is what is visited


@given(text=HOSTILE)
@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@example(text="http:。//")  # a host of nothing but a dot
def test_what_live_sources_would_be_asked_never_raises(text):
    try:
        url = parse(text)
    except BadUrl:
        return
    nobody = HttpSource("http://127.0.0.1:1", headers={}, seconds=1.0)
    server = Nameserver("127.0.0.1", 1)
    wires = (
        DnsList("dbl", "dbl.test", server, addresses=True),
        Rpz("rpz", "rpz.test", server),
        SafeBrowsing(nobody),
        Peers("peer", [nobody], clock=float, rng=random.Random(1)),
    )
    for reading in forms(url).readings:
        for wire in wires:
            keys = wire.keys(reading)
            assert len(keys) <= 30
            assert all(key.isascii() for key in keys)


@pytest.mark.parametrize(
    "text",
    [
        "http://" + "a." * 8000 + "example/",
        "http://" + "a" * MAX + ".example/",
        "http://a.example/" + "../" * 5000,
        "http://a.example/" + "%25" * 5000,
        "http://a.example/" + "/" * MAX,
        "http://a.example/?" + "url=" * 4000,
        "http://a.example/?" + "&url=http://b.example" * 700,
        "http://" + "u:p@" * 4000 + "a.example/",
        "http://a.example/" + "\U0001f600" * 4000,
        "https://urldefense.com/v3/__" + "https://urldefense.com/v3/__" * 500 + "__;!!a!b$",
        "http://" + "xn--" + "a" * 59 + ".example/",
        "http://" + "-" * 63 + ".paypa1.example/",
    ],
    ids=lambda text: text[:40],
)
def test_the_longest_of_each_kind(known, text):
    try:
        url = parse(text)
    except BadUrl:
        return
    known.local(url, NOW)

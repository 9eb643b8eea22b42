"""The index finds exactly the entries that cover a URL, and refuses every file that is not one whole index.

for all sets of entries and all URLs:  find(URL) == the entries that a plain reading of the rule gives
"""

from __future__ import annotations

import ipaddress
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reputation.addresses import LISTED, enclosing, normal_network
from reputation.forms import Reading, host_suffixes
from reputation.index import BLOCK, HEADER, Entry, Index, entry_key
from reputation.index_build import build
from toc.errors import ListError
from toc.url import parse
from toc.verdict import ThreatType

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SEED = bytes(range(16))


def made(folder: Path, entries, **more) -> Index:
    target = folder / "list.idx"
    build(entries, target, generation="g1", seed=SEED, built_at=NOW, **more)
    return Index.open(target)


def found(index: Index, url: str) -> list[tuple[str, str]]:
    return [(hit.entry, hit.form) for hit in index.find(Reading(parse(url)))]


def host(value: str, line: int = 1) -> Entry:
    return Entry("host", value, line, ThreatType.PHISHING)


def test_an_empty_list_answers_nothing(tmp_path):
    index = made(tmp_path, [])
    assert (index.entries, found(index, "http://a.example/")) == (0, [])


CASES = [
    # what stands on the list, what is asked, the form of the match or None, why
    ("host", "evil.example", "http://evil.example/", "host", "itself"),
    ("host", "evil.example", "https://a.b.evil.example:8443/x?y", "host", "sub-hosts, any scheme, port and path"),
    ("host", "evil.example", "http://notevil.example/", None, "labels, not characters"),
    ("host", "a.evil.example", "http://evil.example/", None, "the parent is not covered"),
    ("host", "*.evil.example", "http://x.evil.example/", "host", "the wildcard is the rule anyway"),
    ("host", "EVIL.example.", "http://evil.example./", "host", "case and the root dot do not count"),
    ("host", "例え.example", "http://xn--r8jz45g.example/", "host", "Unicode and A-labels are one"),
    ("host", "under_score.example", "http://under_score.example/", "host", "hosts that are no DNS host names"),
    ("ip", "192.0.2.1", "http://0xC0000201/", "ip", "addresses in any spelling"),
    ("ip", "2001:db8::1", "http://[2001:DB8:0:0::1]/", "ip", "IPv6 with and without brackets"),
    ("host", "192.0.2.1", "http://192.0.2.1/", "host", "an address on a domain list"),
    ("ip", "192.0.2.0/24", "http://192.0.2.77:8080/x", "ip", "a network covers its addresses"),
    ("ip", "192.0.2.77/24", "http://192.0.2.1/", "ip", "host bits of a network do not count"),
    ("ip", "192.0.2.0/24", "http://192.0.3.1/", None, "and no others"),
    ("ip", "192.0.2.1/32", "http://192.0.2.1/", "ip", "a network of one address"),
    ("ip", "2001:db8::/32", "http://[2001:db8::77]/", "ip", "IPv6 networks"),
    ("ip", "2001:db8::/32", "http://[2001:db9::77]/", None, "and no others"),
    ("ip", "192.0.2.0/24", "http://[::ffff:192.0.2.1]/", "ip", "an IPv4 address inside an IPv6 one"),
    ("ip", "192.0.2.1", "http://[64:ff9b::192.0.2.1]/", "ip", "or behind NAT64"),
    ("ip", "::ffff:192.0.2.1", "http://192.0.2.1/", "ip", "on the list, too"),
    ("url", "http://192.0.2.0/24", "http://192.0.2.77/", None, "a page that is called 24 is no network"),
    ("url", "http://192.0.2.0/24", "http://192.0.2.0/24", "url", "it is a page"),
    ("host", "2.1", "http://192.0.2.1/", None, "an address has no parent"),
    ("url", "http://evil.example/a?b=1", "https://evil.example/a?b=1#c", "url", "scheme and fragment do not count"),
    ("url", "http://evil.example/a?b=1", "http://evil.example/a", None, "the query does"),
    ("url", "http://evil.example/a/", "http://evil.example/a/b/c", "expression", "a folder covers what lies in it"),
    ("url", "http://evil.example/a", "http://x.evil.example/a", "expression", "and sub-hosts, as Safe Browsing has it"),
    ("url", "http://evil.example:81/a", "http://u:p@evil.example/a", "url", "port and userinfo do not count"),
    ("url", "http://evil.example/%61/./b", "http://evil.example/a/%62", "url", "escapes do not count"),
    ("url", "evil.example/a", "http://evil.example/a", "url", "a URL without its scheme"),
]


@pytest.mark.parametrize(("kind", "entry", "url", "form", "why"), CASES)
def test_what_an_entry_covers(kind, entry, url, form, why, tmp_path):
    index = made(tmp_path, [Entry(kind, entry, 7)])
    assert found(index, url) == ([(entry, form)] if form else []), why


@pytest.mark.parametrize("wide", ["0.0.0.0/0", "10.0.0.0/7", "2000::/3", "::/0"])
def test_a_network_as_wide_as_a_registry_is_no_entry(wide, tmp_path):
    target = tmp_path / "list.idx"
    report = build([Entry("ip", wide, 1)], target, generation="g1", seed=SEED, built_at=NOW)
    assert (report.entries, report.rejected) == (0, 1)


@given(version=st.sampled_from([4, 6]), number=st.integers(0, 2**128 - 1), data=st.data())
@settings(max_examples=300)
def test_the_networks_around_an_address_are_those_that_hold_it(version, number, data):
    bits = 32 if version == 4 else 128
    kind = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    address = kind(number % 2**bits)
    around = enclosing(f"[{address}]" if version == 6 else str(address))
    assert [ipaddress.ip_network(text).prefixlen for text in around] == sorted(
        (length for which, length in LISTED if which == version), reverse=True
    )
    assert all(address in ipaddress.ip_network(text) for text in around)
    length = data.draw(st.sampled_from([length for which, length in LISTED if which == version]))
    assert normal_network(f"{address}/{length}") in around


def test_a_hit_names_line_threat_and_expiry(tmp_path):
    entries = [host(f"h{number}.example", 3 * number + 1) for number in range(5 * BLOCK)]
    entries.append(Entry("url", "http://last.example/x", 5000, ThreatType.C2, 99))
    index = made(tmp_path, entries)
    for number in (0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5):
        (hit,) = index.find(Reading(parse(f"http://h{number}.example/")))
        assert (hit.line, hit.threat, hit.expires) == (3 * number + 1, ThreatType.PHISHING, None)
    (hit,) = index.find(Reading(parse("http://last.example/x")))
    assert (hit.line, hit.threat, hit.expires, hit.kind) == (5000, ThreatType.C2, 99, "url")


def test_repetitions_count_once_and_the_first_line_is_named(tmp_path):
    entries = [host("a.example", 1), host("A.example", 2), host("b.example", 3), host("a.example", 4)]
    target = tmp_path / "list.idx"
    report = build(entries, target, generation="g1", seed=SEED, built_at=NOW)
    assert (report.entries, report.duplicates, report.rejected) == (2, 2, 0)
    assert [hit.line for hit in Index.open(target).find(Reading(parse("http://a.example/")))] == [1]


@pytest.mark.parametrize("value", ["", ".", "a b", "a b/c", "http://", "x" * 9000, "tab\tbed.example", "[::1"])
@pytest.mark.parametrize("kind", ["host", "url", "bad"])
def test_what_is_no_entry_is_counted_and_left_out(kind, value, tmp_path):
    report = build([Entry(kind, value, 1)], tmp_path / "x", generation="g", seed=SEED, built_at=NOW)
    assert (report.entries, report.rejected) == (0, 1)


labels = st.sampled_from(["a", "b", "evil", "x-1", "example", "com"])
hosts = st.lists(labels, min_size=1, max_size=4).map(".".join)
paths = st.lists(st.sampled_from(["", "a", "b", "c.html"]), max_size=4).map(lambda parts: "/" + "/".join(parts))
urls = st.tuples(hosts, paths, st.sampled_from(["", "?q=1"])).map(lambda parts: "http://{}{}{}".format(*parts))


@settings(max_examples=60, deadline=None)
@given(st.lists(hosts, max_size=12), st.lists(urls, max_size=12), st.lists(urls, min_size=1, max_size=8))
def test_it_finds_what_a_plain_reading_of_the_rule_finds(tmp_path_factory, listed, listed_urls, asked):
    entries = [host(name) for name in listed] + [Entry("url", url, 1) for url in listed_urls]
    index = made(tmp_path_factory.mktemp("index"), entries)
    for url in asked:
        reading = Reading(parse(url))
        keys = {entry_key("url", value) for value in listed_urls} & set(reading.expressions)
        keys |= set(listed) & set(host_suffixes(reading.host))
        assert {entry_key(hit.kind, hit.entry) for hit in index.find(reading)} == keys


def test_every_entry_of_a_long_list_is_found_and_nothing_else(tmp_path):
    entries = [host(f"h{number}.example", number + 1) for number in range(20_000)]
    index = made(tmp_path, entries)
    index.verify()
    assert index.touch() * 4096 >= index.header.sizes[2] + index.header.sizes[3]
    for number in random.Random(1).sample(range(20_000), 2_000):
        assert found(index, f"http://h{number}.example/") == [(f"h{number}.example", "host")]
        assert found(index, f"http://n{number}.example/") == []


def test_a_listed_url_among_many_of_its_host(tmp_path):
    entries = [Entry("url", f"http://drive.example/{number}", number + 1) for number in range(5_000)]
    index = made(tmp_path, entries)
    assert found(index, "http://drive.example/4321") == [("http://drive.example/4321", "url")]
    assert found(index, "http://drive.example/nothing") == []


def test_a_list_that_is_too_long_leaves_nothing(tmp_path):
    with pytest.raises(ListError, match="more than 3 entries"):
        made(tmp_path, (host(f"{number}.example") for number in range(10)), max_entries=3)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_source_leaves_nothing(tmp_path):
    def broken():
        yield host("a.example")
        raise ListError("cut", why="gzip_cut")

    with pytest.raises(ListError, match="cut"):
        made(tmp_path, broken())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("image")
    return made(folder, [host(f"h{number}.example") for number in range(200)]).path.read_bytes()


def test_a_cut_file_is_refused_at_every_length(image, tmp_path):
    path = tmp_path / "cut.idx"
    for length in [*range(HEADER + 2), *range(HEADER + 2, len(image), 97), len(image) - 1]:
        path.write_bytes(image[:length])
        with pytest.raises(ListError):
            Index.open(path)


def test_every_flipped_bit_of_the_head_is_refused(image, tmp_path):
    path = tmp_path / "flipped.idx"
    for bit in range(8 * HEADER):
        raw = bytearray(image)
        raw[bit // 8] ^= 1 << bit % 8
        path.write_bytes(raw)
        with pytest.raises(ListError):
            Index.open(path)


def test_a_flipped_bit_of_the_body_is_found_by_verify(image, tmp_path):
    path = tmp_path / "flipped.idx"
    for place in range(HEADER, len(image), 211):
        raw = bytearray(image)
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(ListError):
            Index.open(path).verify()


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ListError):
            Index.open(path)


def test_progress_is_told(tmp_path):
    told: list[int] = []
    made(tmp_path, (host(f"{number}.example") for number in range(70_000)), progress=told.append)
    assert told == [65_536]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_a_generation_has_beyond_another_is_the_difference_of_their_keys(tmp_path_factory, data) -> None:
    """A host that only had URLs listed before, and now is listed itself, is among them; the other way round, too."""
    values = st.sampled_from(
        [("host", "a.example"), ("host", "b.a.example"), ("host", "*.A.example"), ("url", "http://a.example/"),
         ("url", "https://a.example:8443/"), ("url", "http://a.example/x?y"), ("url", "http://b.a.example/x"),
         ("ip", "192.0.2.1"), ("ip", "192.0.2.0/24"), ("ip", "2001:db8::/32"), ("url", "http://192.0.2.1/")]
    )  # fmt: skip
    sides = [data.draw(st.lists(values, max_size=8)) for _ in range(2)]
    old, new = (
        made(tmp_path_factory.mktemp("list"), [Entry(kind, value, n + 1) for n, (kind, value) in enumerate(side)])
        for side in sides
    )
    keys = [{(kind, entry_key(kind, value)) for kind, value in side} for side in sides]
    expected = [key.partition("/")[0] for kind, key in keys[1] - keys[0] if kind != "ip"]
    assert sorted(new.beyond(old)) == sorted(expected)

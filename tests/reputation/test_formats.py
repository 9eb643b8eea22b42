"""Each format has a sample and the entries that stand in it; chunks of any size give the same entries.

fixtures/feeds/<format>.<ext> ─▶ parse ─▶ fixtures/feeds/<format>.expected.jsonl
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.formats import FORMATS, LINE_FORMATS, MAX_LINE, lines, parse
from reputation.formats_stix import values
from reputation.formats_words import expiry, threat_of
from reputation.index import Entry
from toc.errors import ListError
from toc.verdict import ThreatType

SAMPLES = Path("fixtures/feeds")


def sample(format: str) -> bytes:
    (path,) = [path for path in SAMPLES.glob(f"{format}.*") if "expected" not in path.name]
    return path.read_bytes()


def expected(format: str) -> list[Entry]:
    rows = (SAMPLES / f"{format}.expected.jsonl").read_text("utf-8").splitlines()
    return [Entry(**{**(row := json.loads(text)), "threat": ThreatType(row["threat"])}) for text in rows]


@pytest.mark.parametrize("format", FORMATS)
def test_the_sample_gives_the_expected_entries(format):
    assert list(parse(format, sample(format), ThreatType.PHISHING)) == expected(format)


@pytest.mark.parametrize("format", sorted(LINE_FORMATS))
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_chunks_of_any_size_give_the_same(format, size):
    raw = sample(format)
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert list(parse(format, chunks, ThreatType.PHISHING)) == expected(format)


@pytest.mark.parametrize("format", sorted(LINE_FORMATS))
def test_line_endings_and_a_byte_order_mark_change_nothing(format):
    raw = b"\xef\xbb\xbf" + sample(format).replace(b"\n", b"\r\n")
    assert list(parse(format, raw, ThreatType.PHISHING)) == expected(format)


def attempt(format: str, raw: bytes) -> tuple[list[Entry], str | None]:
    """The entries, or the reason of the refusal."""
    try:
        return list(parse(format, raw)), None
    except ListError as error:
        return [], str(error.facts.get("why", ""))


@pytest.mark.parametrize("size", [1, 2, 3, 1 << 16])
def test_a_byte_order_mark_in_pieces_is_none_of_the_first_entry(size):
    raw = b"\xef\xbb\xbfa.invalid\nb.invalid\n"
    chunks = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert [entry.value for entry in parse("domain_list", chunks)] == ["a.invalid", "b.invalid"]


ZONES = [
    ("z.invalid. 60 IN SOA ns. a. 1 2 3 4 5\nbad.invalid.z.invalid. 60 IN CNAME .\n", ["bad.invalid"], "a transfer"),
    ("Z.invalid. IN SOA ns. a. 1 2 3 4 5\n*.bad.invalid.z.INVALID. CNAME .\n", ["*.bad.invalid"], "in any case"),
    ("bad.invalid CNAME .\n    IN A 192.0.2.1\n", ["bad.invalid"], "a second record of one name: in is none"),
    ("bad.invalid CNAME .\n    60 IN A 192.0.2.1\n    AAAA ::1\n    TXT x\n", ["bad.invalid"], "60 is none"),
    ("@ IN SOA ns. a. 1 2 3 4 5\n  IN NS ns.\nin.invalid CNAME .\n", ["in.invalid"], "a name that begins so is one"),
]


@pytest.mark.parametrize(("zone", "names", "why"), ZONES)
def test_zones_as_servers_write_them(zone, names, why):
    assert [(entry.kind, entry.value) for entry in parse("rpz", zone.encode())] == [("host", n) for n in names], why


def test_blanks_around_a_value_do_not_count():
    event = {"Event": {"Attribute": [{"type": "domain", "value": " bad.invalid ", "to_ids": True}]}}
    assert [entry.value for entry in parse("misp_feed", json.dumps(event).encode())] == ["bad.invalid"]


@given(st.sampled_from(FORMATS), st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode()))
def test_any_bytes_give_entries_or_a_refusal(format, raw):
    found, why = attempt(format, raw)
    assert why != ""
    assert all(entry.kind in ("url", "host", "ip", "bad") and entry.line >= 1 for entry in found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["Event", "Attribute", "Object", "objects", "type", "list", "url", "value", "pattern", "id"]
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from(["urlhaus_json", "phishtank_json", "misp_warninglist", "misp_feed", "stix"]), json_values)
def test_json_of_any_shape_gives_entries_or_a_refusal(format, value):
    assert attempt(format, json.dumps(value).encode())[1] != ""


def test_an_endless_line_is_refused_before_it_fills_the_memory():
    def endless():
        while True:
            yield b"a" * 1000

    with pytest.raises(ListError) as caught:
        list(lines(endless()))
    assert caught.value.facts["why"] == "long_line"
    assert len(list(lines([b"a" * MAX_LINE]))) == 1


def test_a_single_line_in_another_charset_costs_only_itself():
    raw = b"ok.invalid\n" * 200 + b"caf\xe9.invalid\n" + b"ok2.invalid\n"
    kinds = [entry.kind for entry in parse("domain_list", raw)]
    assert (kinds.count("host"), kinds.count("bad")) == (201, 1)


def test_an_unknown_format_is_refused():
    with pytest.raises(ListError, match="unknown list format"):
        parse("xls", b"")


@pytest.mark.parametrize("kind", ["substring", "regex", None])
def test_warning_lists_that_name_no_hosts_are_refused(kind):
    with pytest.raises(ListError, match="names no hosts"):
        list(parse("misp_warninglist", json.dumps({"type": kind, "list": ["a"]}).encode()))


@pytest.mark.parametrize(
    ("word", "threat"),
    [
        ("phishing", ThreatType.PHISHING),
        (" Malware_Download ", ThreatType.MALWARE),
        ("botnet_cc", ThreatType.C2),
        ("", ThreatType.SCAM),  # nothing said: what the feed's row says
        ("never heard of", ThreatType.OTHER),  # something said that no row knows
    ],
)
def test_a_source_s_own_word_maps_to_one_named_value(word, threat):
    assert threat_of(word, ThreatType.SCAM) is threat


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01 00:01:00", 60),  # no zone: UTC
        ("1970-01-01T01:01:00+01:00", 60),
        ("", None),
        ("soon", None),
    ],
)
def test_times_of_sources(text, seconds):
    assert expiry(text) == seconds


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("[url:value = 'a'] OR [url:value = 'b']", ["a", "b"]),
        ("[url:value = 'a'] AND [url:value = 'b']", []),  # both together, not either
        ("[url:value = 'a'] FOLLOWEDBY [url:value = 'b']", []),
        ("[url:value NOT = 'a']", []),
        ("[url:value LIKE 'a%']", []),
        ("[url:value = 'a'] REPEATS 5 TIMES", []),
        ("[url:value = 'a AND b']", ["a AND b"]),  # inside a literal it is no joiner
        ("[ipv4-addr:value ISSUBSET '192.0.2.0/24']", ["192.0.2.0/24"]),  # each address in it fulfils the pattern
        ("[ipv4-addr:value NOT ISSUBSET '192.0.2.0/24']", []),
        ("[ipv4-addr:value ISSUPERSET '192.0.2.1']", []),  # networks that hold it
        ("[url:value ISSUBSET 'a']", []),
        ("", []),
    ],
)
def test_a_pattern_counts_where_one_value_alone_fulfils_it(pattern, found):
    assert [value for _, value in values(pattern)] == found

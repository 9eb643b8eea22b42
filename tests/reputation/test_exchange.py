"""Suspicious objects out of one house and into another.

Invariants: what was exported and imported again is the same set of objects; a file of somebody else is taken line by line,
each refused line named; no file raises anything but Invalid; nothing that only says "benign" becomes an object.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reputation.exchange import from_csv, from_file, from_stix, to_csv, to_stix
from reputation.formats import parse as parse_list
from reputation.objects import Object, ObjectAction, ObjectType, parse_object
from tests.conformance.test_lists_corpus import rows
from toc.errors import Invalid
from toc.verdict import ThreatType

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def read(take, raw: bytes | str) -> tuple[list[Object], list[str]]:
    ids = (f"id{number}" for number in itertools.count())
    return take(raw.encode() if isinstance(raw, str) else raw, new_id=lambda: next(ids), created=NOW)


def made(kind: str, value: str, action: str = "block", **more: object) -> Object:
    return parse_object({"type": kind, "value": value, "action": action, **more}, object_id=value[:32], created=NOW)


SAMPLES = [
    made("domain", "evil.example", note='seen by us; "really", it\'s true\nline two', risk_level="high", owner="a"),
    made("domain", "*.evil.example", "warn", source="sandbox"),
    made("url", "http://evil.example/it's?a=1,2&b=\\x", "log", expires=NOW + timedelta(days=3)),
    made("ip", "192.0.2.1"),
    made("ip", "192.0.2.0/24"),
    made("ip", "2001:db8::1"),
    made("ip", "2001:db8::/32", "warn"),
    made("file_sha1", "a" * 40),
    made("file_sha256", "b" * 64, "log"),
    made("domain", "ours.example", "allow", owner="helpdesk"),
    made("domain", "forced.example", "override", owner="ciso", expires=NOW + timedelta(days=1), note="ticket 7"),
    made("domain", "формула.example", note="=HYPERLINK(1)", owner="+1", source="@x"),
    made("domain", "apostrophe.example", note="'=HYPERLINK(1)", owner="''+1", source="'x"),
]


def stripped(found: list[Object]) -> list[Object]:
    """Without what an import makes anew."""
    return [replace(item, id="", created=NOW) for item in found]


def test_csv_comes_back_as_it_went():
    assert read(from_csv, to_csv(SAMPLES))[0] != []
    found, refused = read(from_csv, to_csv(SAMPLES))
    assert (stripped(found), refused) == (stripped(SAMPLES), [])


def test_stix_comes_back_as_it_went():
    found, refused = read(from_stix, to_stix(SAMPLES, now=NOW))
    assert (stripped(found), refused) == (stripped(SAMPLES), [])


def test_a_file_is_what_it_begins_as():
    as_csv, as_stix = to_csv(SAMPLES).encode(), to_stix(SAMPLES, now=NOW).encode()
    for raw in (as_csv, as_stix, b"\r\n " + as_stix):
        for mark in (b"", codecs.BOM_UTF8):
            found, refused = read(from_file, mark + raw)
            assert (stripped(found), refused) == (stripped(SAMPLES), []), mark + raw[:10]


def test_no_cell_of_a_csv_begins_a_formula():
    cells = [cell for row in csv.reader(io.StringIO(to_csv(SAMPLES))) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


def test_a_stix_bundle_of_ours_is_a_feed_of_somebody_else():
    """Only what accuses becomes an entry of their list."""
    entries = list(parse_list("stix", to_stix(SAMPLES, now=NOW).encode(), ThreatType.OTHER))
    hosts = {entry.value for entry in entries if entry.kind == "host"}
    assert {"evil.example", "*.evil.example"} <= hosts
    assert not hosts & {"ours.example", "forced.example"}


def test_the_bundle_has_what_stix_asks_for():
    bundle = json.loads(to_stix(SAMPLES, now=NOW))
    assert bundle["type"] == "bundle"
    for item in bundle["objects"]:
        assert item["spec_version"] == "2.1"
        assert item["created"] <= item["modified"]
        assert item["valid_from"] < item.get("valid_until", "9999")
    assert len({item["id"] for item in bundle["objects"]}) == len(SAMPLES)
    assert json.loads(to_stix(SAMPLES, now=NOW)) == bundle  # the same ids each time


TAKEN = [
    ("type,content,notes,scan_action,expiration_utc_date\r\nurl,http://a.example/,why,log,2027-03-26T12:26:49.753\r\n",
     made("url", "http://a.example/", "log", note="why", expires="2027-03-26T12:26:49.753"), "Apex Central"),
    ("type,value,riskLevel,expired_date_time\nip,192.0.2.1,high,2027-06-07T03:08:40Z\n",
     made("ip", "192.0.2.1", risk_level="high", expires="2027-06-07T03:08:40Z"), "Vision One"),
    ("\ufeffType, Object ,Scan Action\nDomain,Evil.Example,BLOCK\n", made("domain", "evil.example"), "a console's head"),
    ("value,type\nEVIL.example,domain\n", made("domain", "evil.example"), "another order, nothing else"),
    ("type,value\nfileSha1," + "A" * 40 + "\n", made("file_sha1", "a" * 40), "Vision One's names of types"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected", "why"), TAKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_files_of_other_consoles(text, expected, why):
    found, refused = read(from_csv, text)
    assert (stripped(found), refused) == (stripped([expected]), []), why


@pytest.mark.parametrize("row", [r for r in rows("suspicious_objects") if "object" in r], ids=lambda row: row["id"])
def test_objects_as_other_consoles_show_them(row):
    """Each is taken as what it is, or refused by name; none passes as something else."""
    fields = row["object"]
    if "type" not in fields:
        pytest.skip("a payload that names its type by the key: no file has it")
    head, cells = ",".join(fields), ",".join(fields.values())
    found, refused = read(from_csv, f"{head}\n{cells}\n")
    assert len(found) + len(refused) == 1
    if "match" in row["expected"]:
        (item,) = found
        assert item.value == "http://208.67.105.179/robinzx.exe"
        assert (item.expires is not None and item.expires < NOW) is row["expected"]["expired"]


def test_refused_lines_are_named_and_the_others_taken():
    text = 'type,value\ndomain,a.example\ndomain,192.0.2.1\nmail,x@y.example\n"url","http://\nb"\nip,192.0.2.9\n'
    found, refused = read(from_csv, text)
    assert [item.value for item in found] == ["a.example", "http://b/", "192.0.2.9"]  # a browser drops the line's end
    assert [line.partition(":")[0] for line in refused] == ["line 3", "line 4"]


@pytest.mark.parametrize("raw", [b"", b"\n", b"domain,a.example\n", b"<html>", b"\xff\xfe\x00", b"value\nx\n"])
def test_a_file_without_a_head_is_refused(raw):
    with pytest.raises(Invalid, match="first line"):
        read(from_csv, raw)


def test_a_field_of_any_length_is_no_surprise():
    found, refused = read(from_csv, "type,value,note\ndomain,a.example," + "x" * 1_000_000 + "\ndomain,b.example,\n")
    assert [item.value for item in found] + refused != []


BENIGN = [
    {"indicator_types": ["benign"]},
    {"revoked": True},
    {"pattern_type": "snort"},
    {"type": "malware"},
    {"pattern": "[domain-name:value = 'a.example' AND file:size = 3]"},
    {"pattern": "[domain-name:value != 'a.example']"},
    {"pattern": "nonsense"},
    {"pattern": None},
]


@pytest.mark.parametrize("more", BENIGN, ids=str)
def test_what_does_not_accuse_is_no_object(more):
    indicator = {"type": "indicator", "id": "indicator--1", "pattern": "[domain-name:value = 'a.example']", **more}
    assert read(from_stix, json.dumps({"type": "bundle", "objects": [indicator]}))[0] == []


def test_an_indicator_of_many_values_is_one_object_each():
    pattern = (
        "[url:value = 'http://a.example/'] OR [domain-name:value = 'b.example' OR ipv4-addr:value = '192.0.2.0/24']"
    )
    indicator = {"type": "indicator", "id": "indicator--1", "pattern": pattern, "valid_until": "2027-01-01T00:00:00Z"}
    found, refused = read(from_stix, json.dumps({"type": "bundle", "objects": [indicator]}))
    assert [(item.type, item.value, item.action) for item in found] == [
        ("url", "http://a.example/", "block"),
        ("domain", "b.example", "block"),
        ("ip", "192.0.2.0/24", "block"),
    ]
    assert refused == []
    assert {item.expires for item in found} == {datetime(2027, 1, 1, tzinfo=UTC)}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "objects", "pattern", "labels", "indicator_types", "valid_until", "id"]), inner
        )
    ),
    max_leaves=20,
)


@given(raw=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=200)
def test_no_file_raises_anything_but_invalid(raw):
    for take in (from_csv, from_stix):
        for file in (raw, b"type,value,note\n" + raw):
            try:
                read(take, file)
            except Invalid:
                continue


@given(items=st.lists(JSON, max_size=4))
@settings(max_examples=200)
def test_no_bundle_raises(items):
    indicators = [
        {"type": "indicator", "pattern": item, **(item if isinstance(item, dict) else {}), "x_toc_object": item}
        for item in items
    ]
    read(from_stix, json.dumps({"type": "bundle", "objects": [*items, *indicators]}))


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=40).map(str.strip)


@given(note=TEXT, owner=TEXT, source=TEXT, action=st.sampled_from([a for a in ObjectAction if a != "override"]))
def test_texts_of_any_kind_survive_both_ways(note, owner, source, action):
    item = made("domain", "a.example", action, note=note, owner=owner, source=source)
    assert stripped(read(from_csv, to_csv([item]))[0]) == stripped([item])
    assert stripped(read(from_stix, to_stix([item], now=NOW))[0]) == stripped([item])


def test_the_samples_are_of_every_type_and_action():
    assert {item.type for item in SAMPLES} == set(ObjectType)
    assert {item.action for item in SAMPLES} == set(ObjectAction)

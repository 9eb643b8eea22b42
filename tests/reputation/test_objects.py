"""Suspicious objects: what is refused, what a URL meets.

Invariants: an object never covers a host that only ends in the same letters; scheme, port, userinfo and fragment never
matter; an object that expired matches nothing; every accepted value is stored in a form that is its own normal form.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.forms import Reading, forms
from reputation.objects import (
    EFFECT,
    Object,
    ObjectAction,
    ObjectSet,
    ObjectType,
    breadth_warning,
    normal_value,
    parse_object,
)
from toc.errors import Invalid
from toc.url import parse
from toc.verdict import Level, MatchKind, ThreatType, conclude

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def made(kind: str, value: str, action: str = "block", **more: object) -> Object:
    fields = {"type": kind, "value": value, "action": action, **more}
    return parse_object(fields, object_id=f"{kind}-{value}"[:32], created=NOW)


def met(objects: list[Object], url: str, now: datetime = NOW) -> list[str]:
    """Values of the objects that `url` meets, under all its readings."""
    known = ObjectSet.of(objects)
    found = forms(parse(url))
    return [match.entry for reading in found.readings for match in known.match(reading, now)]


COVERED = [
    ("domain", "evil.example", "http://evil.example/", True),
    ("domain", "evil.example", "http://a.b.evil.example:8080/x?y", True),
    ("domain", "evil.example", "http://user:pass@evil.example/#f", True),
    ("domain", "evil.example", "http://evil.example./", True),  # the trailing dot leads to the same host
    ("domain", "evil.example", "http://notevil.example/", False),  # by label, not by letters
    ("domain", "evil.example", "http://evil.example.org/", False),
    ("domain", "EVIL.Example.", "http://evil.example/", True),
    ("domain", "*.evil.example", "http://a.evil.example/", True),
    ("domain", "*.evil.example", "http://a.b.evil.example/", True),
    ("domain", "*.evil.example", "http://evil.example/", False),  # the wildcard means the sub-hosts
    ("domain", "bücher.example", "http://xn--bcher-kva.example/", True),
    ("url", "http://a.example/x", "https://a.example/x", True),
    ("url", "http://a.example/x", "http://u@a.example:8443/x#f", True),
    ("url", "http://a.example/x", "http://a.example/x?q=1", True),  # without a query it covers every query
    ("url", "http://a.example/x?q=1", "http://a.example/x?q=1", True),
    ("url", "http://a.example/x?q=1", "http://a.example/x", False),
    ("url", "http://a.example/x?q=1", "http://a.example/x?q=2", False),
    ("url", "http://a.example/x", "http://a.example/x/", False),
    ("url", "http://a.example/x", "http://b.a.example/x", False),
    ("url", "a.example/x", "http://a.example/x", True),  # a scheme may be left out
    ("url", "http://a.example/%41", "http://a.example/A", True),  # escapes do not hide a URL
    ("ip", "192.0.2.1", "http://192.0.2.1/", True),
    ("ip", "192.0.2.1", "http://0xC0000201/", True),  # a browser reads it as the same address
    ("ip", "192.0.2.1", "http://192.0.2.2/", False),
    ("ip", "192.0.2.0/24", "http://192.0.2.77/", True),
    ("ip", "192.0.2.77/24", "http://192.0.2.1/", True),  # host bits are dropped
    ("ip", "192.0.2.0/24", "http://192.0.3.1/", False),
    ("ip", "2001:db8::/32", "http://[2001:db8::1]/", True),
    ("ip", "2001:db8::1", "http://[2001:DB8:0:0::1]/", True),
    ("ip", "2001:db8::/32", "http://192.0.2.1/", False),
    ("ip", "192.0.2.1", "http://[::ffff:192.0.2.1]/", True),  # the same address to a dual-stack browser
    ("ip", "192.0.2.0/24", "http://[::ffff:c000:201]/", True),
    ("ip", "192.0.2.1", "http://192.0.2.1.example/", False),
    ("file_sha1", "A" * 40, "http://a.example/", False),
]


@pytest.mark.parametrize(("kind", "value", "url", "expected"), COVERED)
def test_what_an_object_covers(kind, value, url, expected):
    assert bool(met([made(kind, value)], url)) is expected


def test_an_object_meets_what_lies_in_a_vendors_wrapper():
    wrapped = "https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Fevil.example%2Fx&data=1&reserved=0"
    assert met([made("domain", "evil.example")], wrapped) == ["evil.example"]


def test_an_expired_object_meets_nothing():
    item = made("domain", "evil.example", expires=NOW)
    assert met([item], "http://evil.example/", NOW - timedelta(seconds=1)) == ["evil.example"]
    assert met([item], "http://evil.example/", NOW) == []


def test_every_object_that_fits_is_named():
    objects = [made("domain", "example"), made("url", "http://a.example/"), made("domain", "*.example", "log")]
    assert sorted(met(objects, "http://a.example/")) == ["*.example", "example", "http://a.example/"]


LEVELS = {"block": Level.DANGEROUS, "warn": Level.SUSPICIOUS, "log": Level.UNTESTED, "allow": Level.SAFE}


@pytest.mark.parametrize("action", list(ObjectAction))
def test_each_action_has_its_level(action):
    item = made("domain", "a.example", action, owner="me", expires=NOW + timedelta(days=1))
    (match,) = ObjectSet.of([item]).match(Reading(parse("http://a.example/")), NOW)
    assert match.threat is ThreatType.SUSPICIOUS_OBJECT
    assert (match.kind, match.level) == EFFECT[action]
    assert conclude(as_of=NOW, matches=(match,)).level is LEVELS.get(action, Level.SAFE)


def test_an_override_beats_a_block_and_an_approval_does_not():
    day = {"owner": "me", "expires": NOW + timedelta(days=1)}
    block, allow = made("domain", "a.example"), made("domain", "a.example", "allow")
    override = made("domain", "a.example", "override", **day)

    def level(*objects: Object) -> Level:
        matches = ObjectSet.of(objects).match(Reading(parse("http://a.example/")), NOW)
        return conclude(as_of=NOW, matches=tuple(matches)).level

    assert level(block, allow) is Level.DANGEROUS
    assert level(block, override) is Level.SAFE


def test_log_leaves_the_level_as_it_was():
    (match,) = ObjectSet.of([made("domain", "a.example", "log")]).match(Reading(parse("http://a.example/")), NOW)
    assert match.kind is MatchKind.LOGGED
    assert conclude(as_of=NOW, matches=(match,)).level is Level.UNTESTED


REFUSED = [
    ({"type": "mail", "value": "a@b.example"}, "type"),
    ({"type": "domain", "value": ""}, "empty"),
    ({"type": "domain", "value": "a*b.example"}, "domain"),
    ({"type": "domain", "value": "*.*.example"}, "domain"),
    ({"type": "domain", "value": "a b"}, "domain"),
    ({"type": "domain", "value": "a.example/x"}, "domain"),
    ({"type": "domain", "value": "192.0.2.1"}, "type ip"),
    ({"type": "domain", "value": "0x7f.1"}, "type ip"),
    ({"type": "domain", "value": "[::1]"}, "type ip"),
    ({"type": "domain", "value": "." * 3}, "domain"),
    ({"type": "url", "value": "mailto:a@b.example"}, "no http"),
    ({"type": "url", "value": "http://"}, "no http"),
    ({"type": "ip", "value": "192.0.2"}, "neither"),
    ({"type": "ip", "value": "XXX.XX.XXX.XXX"}, "neither"),  # as consoles' own documents show it
    ({"type": "file_sha1", "value": "a" * 39}, "40 hex"),
    ({"type": "file_sha256", "value": "g" * 64}, "64 hex"),
    ({"type": "domain", "value": "a.example", "action": "quarantine"}, "action"),
    ({"type": "domain", "value": "a.example", "risk_level": "extreme"}, "risk_level"),
    ({"type": "domain", "value": "a.example", "expires": "soon"}, "expires"),
    ({"type": "domain", "value": "a.example", "action": "override"}, "owner and expires"),
    ({"type": "domain", "value": "a.example", "action": "override", "owner": "me"}, "owner and expires"),
    ({"type": "domain", "value": "a.example", "action": "override", "expires": "2027-01-01"}, "owner and expires"),
]


@pytest.mark.parametrize(("fields", "said"), REFUSED)
def test_what_is_refused_says_what_is_wrong(fields, said):
    with pytest.raises(Invalid, match=said):
        parse_object(fields, object_id="x", created=NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-01-31T00:00:00Z", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T09:00:00+09:00", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2021-03-26T12:26:49.753", datetime(2021, 3, 26, 12, 26, 49, 753000, UTC)),  # consoles mean UTC
        ("None", None),
        ("", None),
    ],
)
def test_expiry_in_every_usual_spelling(text, expected):
    assert made("domain", "a.example", expires=text).expires == expected


WIDE = [
    ("domain", "com", "every domain"),
    ("domain", "*.com", "every domain"),
    ("domain", "*.co.uk", "every domain"),
    ("domain", "localhost", "every domain"),
    ("domain", "top.example", "popular"),
    ("domain", "google.com", "popular"),
    ("domain", "*.github.io", "many owners"),
    ("domain", "bit.ly", "many owners"),
    ("ip", "10.0.0.0/8", "16,777,216 addresses"),
    ("ip", "2001:db8::/20", "addresses"),
]


@pytest.mark.parametrize(("kind", "value", "said"), WIDE)
def test_an_over_broad_entry_gets_a_warning(kind, value, said):
    assert said in (breadth_warning(made(kind, value, "allow"), frozenset({"top.example"})) or "")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("domain", "a.example"),
        ("domain", "a.github.io"),
        ("domain", "mail.google.com"),
        ("ip", "192.0.2.0/24"),
        ("ip", "192.0.2.1"),
        ("url", "http://top.example/x"),
    ],
)
def test_an_ordinary_entry_gets_none(kind, value):
    assert breadth_warning(made(kind, value), frozenset({"top.example"})) is None


@given(kind=st.sampled_from(list(ObjectType)), text=st.text(max_size=80))
def test_a_value_is_its_own_normal_form_or_refused(kind, text):
    try:
        value = normal_value(kind, text)
    except Invalid:
        return
    assert normal_value(kind, value) == value


LABEL = st.text("abcdefghij0123456789-", min_size=1, max_size=8).filter(lambda s: s[0] != "-" and s[-1] != "-")


@given(labels=st.lists(LABEL, min_size=2, max_size=6), keep=st.integers(1, 6), glued=LABEL)
def test_a_domain_covers_by_label_only(labels, keep, glued):
    host = ".".join([*labels, "example"])
    kept = ".".join([*labels[-keep:], "example"])
    item = made("domain", kept)
    assert met([item], f"http://{host}/") == [kept]
    assert met([item], f"http://{glued}{kept}/") == []

"""A URL of several readings: a threat counts in any of them, an approval only where a click cannot end elsewhere.

Invariants: what a page claims to wrap never approves the page; a vendor's own host neither approves nor hinders what it
leads to; a well-known wrapper makes no sign of its target go away.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reputation.objects import Object, ObjectSet, parse_object
from tests.reputation.installation import knowledge
from toc.sightings import Sighting
from toc.url import parse
from toc.verdict import Level, MatchKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BRAND = '[[reputation.brands]]\nname = "examplebank"\ndomains = ["examplebank.example"]\n'


def vendor(target: str) -> str:
    return f"https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2F{target}%2F&data=1&reserved=0"


def claim(target: str, host: str = "evil.example") -> str:
    """FortiMail runs on its owner's host: anybody's page may look like it."""
    return f"https://{host}/fmlurlsvc/?fewReq=1&url=http%3A%2F%2F{target}%2F"


HIDDEN = "https://protect-eu.mimecast.com/s/AbCdEfGhIjKl?domain=good.example"


def item(value: str, action: str) -> Object:
    fields = {"type": "domain", "value": value, "action": action, "owner": "me", "expires": NOW + timedelta(days=1)}
    return parse_object(fields, object_id=f"{action}-{value}"[:32], created=NOW)


CASES = [
    ("http://good.example/", None, {"good.example": "allow"}, Level.SAFE, "one reading"),
    (vendor("good.example"), None, {"good.example": "allow"}, Level.SAFE, "the target of a vendor's wrapper"),
    (vendor("bad.example"), None, {"outlook.com": "allow"}, Level.UNTESTED, "the vendor's host says nothing about it"),
    (vendor("bad.example"), None, {"outlook.com": "override", "bad.example": "block"}, Level.DANGEROUS, "nor over it"),
    (
        vendor("good.example"),
        None,
        {"good.example": "override", "outlook.com": "block"},
        Level.SAFE,
        "an override does",
    ),
    (claim("good.example"), None, {"good.example": "allow"}, Level.UNTESTED, "what a page claims to wrap"),
    (
        claim("good.example"),
        None,
        {"good.example": "override", "evil.example": "block"},
        Level.DANGEROUS,
        "never beats",
    ),
    (claim("good.example"), None, {"good.example": "allow", "evil.example": "allow"}, Level.SAFE, "both approved"),
    (
        claim("good.example"),
        None,
        {"good.example": "override", "evil.example": "allow", "example": "block"},
        Level.DANGEROUS,
        "one override of two places",
    ),
    (vendor("bad.example"), None, {"bad.example": "block"}, Level.DANGEROUS, "a threat inside counts"),
    (claim("good.example"), None, {"evil.example": "block"}, Level.DANGEROUS, "and outside"),
    (
        "http://good.example/",
        "http://bad.example/",
        {"good.example": "allow"},
        Level.UNTESTED,
        "the other reading, too",
    ),
    ("http://good.example/", "http://bad.example/", {"bad.example": "block"}, Level.DANGEROUS, "a threat in it counts"),
    (HIDDEN, None, {"mimecast.com": "allow"}, Level.SAFE, "nothing but the wrapper is known"),
]


@pytest.mark.parametrize(("url", "other", "objects", "level", "why"), CASES)
def test_what_counts_in_which_reading(url, other, objects, level, why, tmp_path):
    known = knowledge(tmp_path)
    known.objects = ObjectSet.of([item(value, action) for value, action in objects.items()], "1")
    assert known.local(parse(url), NOW, other=other).level is level, why


def test_an_approval_that_does_not_count_is_on_record(tmp_path):
    known = knowledge(tmp_path)
    known.objects = ObjectSet.of([item("good.example", "override")], "1")
    verdict = known.local(parse(claim("good.example")), NOW)
    assert [(match.entry, match.kind, match.form) for match in verdict.matches] == [
        ("good.example", MatchKind.LOGGED, "layer:fortimail")
    ]
    assert not verdict.approved


@pytest.mark.parametrize(
    ("popular", "level"),
    [("outlook.com", Level.SUSPICIOUS), ("outlook.com\nexamplebnak.example", Level.UNTESTED), ("", Level.SUSPICIOUS)],
)
def test_a_popular_wrapper_cancels_no_sign_of_its_target(popular, level, tmp_path):
    (tmp_path / "popular.txt").write_text(popular)
    known = knowledge(tmp_path, '[reputation]\npopularity = "popular.txt"\n' + BRAND)
    assert known.local(parse(vendor("examplebnak.example")), NOW).level is level


def test_a_familiar_wrapper_neither(tmp_path):
    known = knowledge(tmp_path, BRAND)
    seen = Sighting(0, 100, 1000)
    assert known.local(parse(vendor("examplebnak.example")), NOW, seen=seen).level is Level.SUSPICIOUS
    assert known.local(parse("http://examplebnak.example/"), NOW, seen=seen).level is Level.UNTESTED

"""Each guard refuses exactly what its rule says, and lets ordinary change pass. Figures on both sides of each limit."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest

from reputation.forms import Reading
from reputation.guards import SMALL, Figures, check_canaries, check_checksum, check_date, check_figures
from reputation.index import Hit
from toc.errors import ListError
from toc.verdict import ThreatType

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def why(action, *arguments) -> str:
    try:
        action(*arguments)
    except ListError as error:
        return str(error.facts["why"])
    return ""


@pytest.mark.parametrize(
    ("entries", "rejected", "duplicates", "previous", "expected"),
    [
        (0, 0, 0, None, "empty"),
        (1, 0, 0, None, ""),
        (0, 5, 0, None, "garbled"),
        (90, 10, 0, None, ""),
        (90, 11, 0, None, "garbled"),
        (100, 0, 100, None, ""),
        (100, 0, 101, None, "duplicates"),
        (1, 0, SMALL - 1, None, ""),  # too few to be a pattern
        (500, 0, 0, 1000, ""),
        (499, 0, 0, 1000, "shrunk"),
        (3000, 0, 0, 1000, ""),
        (3001, 0, 0, 1000, "grown"),
        (1, 0, 0, SMALL - 1, ""),  # small lists change by whole factors
        (1, 0, 0, SMALL, "shrunk"),
    ],
)
def test_figures(entries, rejected, duplicates, previous, expected):
    assert why(check_figures, Figures(entries, rejected, duplicates, previous)) == expected


def listed(*hosts: str):
    def find(reading: Reading) -> list[Hit]:
        return [Hit(reading.host, 1, "host", ThreatType.OTHER, "host")] if reading.host in hosts else []

    return find


def test_canaries():
    assert why(check_canaries, listed("evil.example"), ["http://evil.example/x"], ["good.example"]) == ""
    assert why(check_canaries, listed(), ["evil.example"], []) == "canary_missing"
    assert why(check_canaries, listed("good.example"), [], ["https://good.example/"]) == "canary_hit"
    assert why(check_canaries, listed(), ["http://["], []) == "canary"


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("form", ["{}", "{}  list.txt\n", "SHA (list.txt) = {}", "# head\n{} *list.txt"])
def test_published_checksums(name, form):
    digest = hashlib.new(name, b"one two").hexdigest()
    assert why(check_checksum, [b"one ", b"two"], form.format(digest).encode()) == ""
    assert why(check_checksum, [b"one ", b"two"], form.format(digest.upper()).encode()) == ""
    assert why(check_checksum, [b"one two!"], form.format(digest).encode()) == "checksum"


@pytest.mark.parametrize("text", [b"", b"<html>", b"abc", b"0" * 63, b"0" * 65])
def test_what_is_no_checksum(text):
    assert why(check_checksum, [b""], text) == "checksum_unreadable"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("", ""),
        ("Sun, 01 Mar 2026 00:00:00 GMT", ""),
        ("Mon, 02 Mar 2026 00:00:00 GMT", ""),  # a day for clocks and zones
        ("Mon, 02 Mar 2026 00:00:01 GMT", "future_date"),
        ("Fri, 01 Jan 2038 00:00:00 -0000", "future_date"),
        ("yesterday", ""),  # says nothing
    ],
)
def test_dates(stated, expected):
    assert why(check_date, stated, NOW) == expected

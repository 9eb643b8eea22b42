"""Links of calendars (RFC 5545).

Invariants: every URL of a property is in the receipt and sealed but for meeting joins in structured properties and for
identifiers; no line that fitted grows past 75 octets; unfolded, the output differs from the source in URLs alone; undoing
the edits gives the source back; a second pass changes nothing.
"""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewriter.calendar import is_meeting, rewrite_calendar
from rewriter.edit import apply, invert
from rewriter.options import Options
from rewriter.receipt import BodyResult
from toc.link import Fate, Keep, Kind, Link, Neutralise, Sealed
from toc.url import parse

OURS = "https://links.example/u/"
TOKEN = "1" + "A" * 120 + "x"


def protect(link: Link) -> Fate:
    host = parse(link.url).host
    if link.url.startswith(OURS):
        return Keep("own_link")
    if host == "bad.example":
        return Neutralise("too_long")
    return Sealed(f"{OURS}{host}/{TOKEN}")


def rewritten(source: str) -> tuple[str, BodyResult]:
    result = rewrite_calendar(source, part="1", protect=protect, options=Options())
    output = apply(source, result.edits)
    assert apply(output, invert(source, result.edits)) == source
    return output, result


def unfolded(text: str) -> str:
    return re.sub(r"\r?\n[ \t]", "", text)


def event(*lines: str) -> str:
    return "\r\n".join(("BEGIN:VCALENDAR", "BEGIN:VEVENT", *lines, "END:VEVENT", "END:VCALENDAR", ""))


PROPERTIES = [
    # content line, the URLs that are sealed
    ("URL:https://a.example/x", ["https://a.example/x"]),
    ("URL;VALUE=URI:https://a.example/x;y,z", ["https://a.example/x;y,z"]),  # a URI needs no escapes
    ("ATTACH;FMTTYPE=application/pdf:https://a.example/x.pdf", ["https://a.example/x.pdf"]),
    ("ATTACH;ENCODING=BASE64;VALUE=BINARY:aHR0cDovL2EuZXhhbXBsZS8=", []),
    ("LOCATION:https://a.example/room", ["https://a.example/room"]),
    ("LOCATION:Room 5\\, see https://a.example/room\\, floor 2", ["https://a.example/room"]),
    (
        "DESCRIPTION:One https://a.example/1\\nhttps://a.example/2\\, and www.b.example.org",
        ["https://a.example/1", "https://a.example/2", "http://www.b.example.org/"],
    ),
    ("DESCRIPTION:query https://a.example/?a=1\\;b=2 end", ["https://a.example/?a=1;b=2"]),  # an escaped sign in a URL
    ('DESCRIPTION;ALTREP="https://a.example/alt":text', ["https://a.example/alt"]),
    ('ORGANIZER;CN="A: B";DIR="https://a.example/dir":mailto:a@b.example', ["https://a.example/dir"]),
    ("SUMMARY:詳細はhttps://a.example/xを参照", ["https://a.example/x"]),
    ("LOCATION:Zoom:https://a.example/x", ["https://a.example/x"]),  # prose, no scheme
    ("URL:ms-word:ofe|u|https://a.example/x", ["https://a.example/x"]),  # the scheme is broken, the URL inside sealed
    ("X-SOMETHING:https://a.example/x", ["https://a.example/x"]),
    ("UID:https://a.example/uid", []),
    ("CONFERENCE;VALUE=URI;FEATURE=VIDEO:https://video.example/r/1", ["https://video.example/r/1"]),
    ("COMMENT:no link", []),
    # bare line breaks in prose: the colon of the URL ends no name
    ("https://a.example/x", ["https://a.example/x"]),
    ("Join us at https://a.example/x, please", ["https://a.example/x"]),
    ("Note; http://a.example/x", ["http://a.example/x"]),
    ("DESCRIPTION;ALTREP=https://a.example/alt:text", ["https://a.example/alt:text"]),  # quotes left out
    ("www.a.example", ["http://www.a.example/"]),
]


@pytest.mark.parametrize(("line", "urls"), PROPERTIES)
def test_each_property(line: str, urls: list[str]) -> None:
    output, result = rewritten(event(line))
    assert [row.url for row in result.rows if row.reason == "sealed"] == urls
    assert {row.kind for row in result.rows} <= {Kind.CALENDAR}
    again = rewrite_calendar(output, part="1", protect=protect, options=Options())
    assert again.edits == ()


@pytest.mark.parametrize("newline", ["\r\n", "\n"])
def test_lines_stay_within_75_octets(newline: str) -> None:
    source = newline.join(
        [
            "DESCRIPTION:Please read https://a.example/a/very/long/path/that/is/wrapp",
            " ed/over/lines before the meeting\\, and 会議資料はhttps://b.example/xを見る",
            " e.",
            "",
        ]
    )
    output, result = rewritten(source)
    assert [row.url for row in result.rows] == [
        "https://a.example/a/very/long/path/that/is/wrapped/over/lines",
        "https://b.example/x",
    ]
    assert max(len(line.encode()) for line in output.splitlines()) <= 80  # the second line was longer than 75
    assert unfolded(output) == (
        f"DESCRIPTION:Please read {OURS}a.example/{TOKEN} before the meeting\\, and 会議資料は"
        f"{OURS}b.example/{TOKEN}を見るe.{newline}"
    )


MEETINGS = [
    ("https://teams.microsoft.com/l/meetup-join/19%3ameeting_x/0?context=%7b%7d", True),
    ("https://us02web.zoom.us/j/123456789?pwd=abc", True),
    ("https://company.webex.com/company/j.php?MTID=m1", True),
    ("https://meet.google.com/abc-defg-hij", True),
    ("https://zoom.us.evil.example/j/123456789", False),  # the name in front of another domain
    ("https://evilzoom.us/j/123456789", False),  # a domain that ends alike
    ("https://zoom.us/rec/share/abc", False),  # a recording, no meeting
    ("http://zoom.us/j/123456789", False),  # not encrypted
    ("https://zoom.us@evil.example/j/123456789", False),
    ("https://user@zoom.us/j/123456789", False),
    ("https://teams.microsoft.com/l/message/1", False),
    ("https://meet.google.com/linkredirect?dest=https://evil.example", False),
]


@pytest.mark.parametrize(("url", "meeting"), MEETINGS)
def test_meetings_are_told_by_exact_host_and_path(url: str, meeting: bool) -> None:
    assert is_meeting(parse(url)) is meeting


def test_meetings_stay_in_structured_properties_and_are_sealed_in_prose() -> None:
    join = "https://us02web.zoom.us/j/123456789"
    output, result = rewritten(event(f"LOCATION:{join}", f"X-GOOGLE-CONFERENCE:{join}", f"DESCRIPTION:{join}"))
    assert [row.reason for row in result.rows] == ["meeting", "meeting", "sealed"]
    assert output.count(join) == 2


def test_a_description_in_html_is_rewritten_as_html() -> None:
    line = 'X-ALT-DESC;FMTTYPE=text/html:<a href="https://a.example/?x=1\\;y">see\\, there</a>\\n'
    output, result = rewritten(event(line))
    assert [row.url for row in result.rows] == ["https://a.example/?x=1;y"]
    assert "a.example/?x" not in output
    assert "see\\, there" in output


def test_a_neutralised_link_is_dead() -> None:
    output, _ = rewritten(event("URL:https://bad.example/x", "DESCRIPTION:https://bad.ex", " ample/y"))
    assert "URL:hxxps://bad[.]example/x" in output
    assert "https://bad" not in unfolded(output)


def test_dangerous_schemes_are_broken_and_others_kept() -> None:
    output, result = rewritten(event("URL:file://server/x", "ATTACH:cid:part1@a.example", "LOCATION:Room: 5"))
    assert "URL:file[:]//server/x" in output
    assert [row.reason for row in result.rows] == ["scheme_dangerous", "scheme"]


PIECES = [
    "BEGIN:VEVENT",
    "\r\n",
    "\n",
    "\r\n ",
    "DESCRIPTION:",
    "URL:",
    "LOCATION:",
    ";X=",
    '"',
    ":",
    ";",
    "\\",
    "\\n",
    "\\,",
]
PIECES += ["https://a.example/", "http://bad.example", "www.", "x", "é", "会", " ", "a" * 70, "https://zoom.us/j/1"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
def test_any_calendar(source: str) -> None:
    output, _ = rewritten(source)
    if all(len(line.encode()) <= 75 for line in source.splitlines()):
        assert all(len(line.encode()) <= 75 for line in output.splitlines())

"""Links in plain text.

Invariants: a URL's end is what a careful reader wants to be clickable (fixtures/text_boundary.jsonl, one reason a row);
nothing outside the edits changes and undoing them gives the source back; the output holds no foreign URL that a client
would make clickable; a second pass changes nothing; the character behind a URL never is one that a token could hold.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewriter.edit import apply, invert
from rewriter.options import Bare, Options
from rewriter.receipt import BodyResult, Outcome
from rewriter.text import find, rewrite_text
from toc.link import Fate, Keep, Kind, Link, Neutralise, Sealed
from toc.url import parse

FIXTURES = Path(__file__).parents[2] / "fixtures"
OURS = "https://links.example/u/"


def boundary_rows() -> list[dict]:
    with (FIXTURES / "text_boundary.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def protect(link: Link) -> Fate:
    """Seals all but our own links; the host ``bad.example`` is neutralised."""
    url = parse(link.url)
    if link.url.startswith(OURS):
        return Keep("own_link")
    if url.host.endswith("bad.example"):
        return Neutralise("too_long")
    return Sealed(f"{OURS}{url.host if re.fullmatch('[a-z0-9.-]{1,63}', url.host) else '-'}/1abcdefx")


def rewritten(source: str, **how: bool | int) -> tuple[str, BodyResult]:
    result = rewrite_text(source, part="1", protect=protect, options=Options(), **how)  # type: ignore[arg-type]
    output = apply(source, result.edits)
    assert apply(output, invert(source, result.edits)) == source
    return output, result


@pytest.mark.parametrize("row", boundary_rows(), ids=lambda row: row["id"])
def test_a_url_ends_where_a_careful_reader_wants_it(row: dict) -> None:
    found = find(row["input"])
    assert [item.text for item in found] == row["expected"], row["why"]
    if "other" in row:
        assert [item.other for item in found] == row["other"], row["why"]


OTHER_READINGS = [
    # text, url, other
    (
        "https://a.jp/notice詳細",
        "https://a.jp/notice",
        "https://a.jp/notice%E8%A9%B3%E7%B4%B0",
    ),  # cut: the whole is sealed too
    ("https://a.jp/x/東京", "https://a.jp/x/%E6%9D%B1%E4%BA%AC", "https://a.jp/x/"),  # kept: the cut is sealed too
    ("https://a.jp/x", "https://a.jp/x", None),  # nothing to guess
    ("https://a.jpを", "https://a.jp/", None),  # the host decides, no guess
    (
        "https://exa\u200bmple.com/a",
        "https://example.com/a",
        "https://exa/",
    ),  # a client may stop at the zero-width sign
    ("<https://a.jp/x\ny>", "https://a.jp/xy", "https://a.jp/x"),  # a client may not join lines
]


@pytest.mark.parametrize(("text", "url", "other"), OTHER_READINGS)
def test_a_guess_has_its_other_reading(text: str, url: str, other: str | None) -> None:
    (item,) = find(text)
    assert (item.url, item.other) == (url, other)


HIDDEN = [
    # source, URLs that a client which drops invisible characters would visit
    ("https://exa\u200bmple.com/a\u200cb", ["https://example.com/ab"]),  # Z-WASP in host and path
    ("h\u00adt\u200btps://evil.example/", ["https://evil.example/"]),  # in the scheme
    ("ww\u2060w.evil.example.com", ["http://www.evil.example.com/"]),  # in www.
    ("abc\u200bhttp://two.example/", ["http://two.example/"]),  # dropped, it would hide the start
    ("http://one.example/\u200bhttp://two.example/", ["http://one.example/http://two.example/"]),  # behind a slash
    ("http://one.example/a\u200bhttp://two.example/", ["http://one.example/a", "http://two.example/"]),
    ("http://日本\u200b語.jp/", ["http://xn--wgv71a119e.jp/"]),  # between foreign letters of a host
    ("https://a.jp/zw\u200bを", ["https://a.jp/zw"]),  # before text: it ends the URL
]


@pytest.mark.parametrize(("source", "urls"), HIDDEN)
def test_invisible_characters_hide_no_link(source: str, urls: list[str]) -> None:
    assert [item.url for item in find(source)] == urls
    output, _ = rewritten(source)
    assert "evil" not in output.replace("/u/evil", "").replace("/u/www.evil", "")


BRACKETED = [
    ("<https://a.jp/x/\r\n  y.html>", ["https://a.jp/x/y.html"]),  # RFC 3986 C: white space around the break
    ("<URL:https://a.jp/x/\ny>", ["https://a.jp/x/y"]),  # RFC 3986 C: the prefix
    ("＜https://a.jp/x\ny＞", ["https://a.jp/xy"]),  # full-width brackets
    ("<https://a.jp/x\n\ny>", ["https://a.jp/x"]),  # an empty line ends it
    ("<https://a.jp/x\n<y>", ["https://a.jp/x"]),  # a second bracket ends it
    ("> <https://a.jp/x\n> y>", ["https://a.jp/x"]),  # a quoted line is not joined
    ("<https://a.jp/x y>", ["https://a.jp/x"]),  # a blank inside a line is no break
    ("<https://a.jp/製品を見る>", ["https://a.jp/%E8%A3%BD%E5%93%81%E3%82%92%E8%A6%8B%E3%82%8B"]),  # everything belongs
]


@pytest.mark.parametrize(("source", "urls"), BRACKETED)
def test_angle_brackets(source: str, urls: list[str]) -> None:
    assert [item.url for item in find(source)] == urls


FLOWED = [
    # source, flowed and DelSp, URL
    ("https://a.jp/x/ \r\ny z", True, "https://a.jp/x/y"),  # a soft break inside a word
    ("> https://a.jp/x/ \r\n> y z", True, "https://a.jp/x/y"),  # in a quotation
    ("> https://a.jp/x/ \r\n>> y z", True, "https://a.jp/x/"),  # another quote depth: a new paragraph
    ("https://a.jp/x/ \r\n y z", True, "https://a.jp/x/y"),  # space-stuffed
    ("https://a.jp/x/ \r\ny z", False, "https://a.jp/x/"),  # without DelSp the space stays
]


@pytest.mark.parametrize(("source", "delsp", "url"), FLOWED)
def test_soft_breaks_of_flowed_text(source: str, delsp: bool, url: str) -> None:
    output, result = rewritten(source, flowed=True, delsp=delsp)
    assert [row.url for row in result.rows] == [url]
    assert OURS in output


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("see http://bad.example/x.", "see hxxp://bad[.]example/x."),
        ("www.bad.example!", "www[.]bad[.]example!"),
        ("HTTPS://BAD.example/?u=http://www.bad.example/", "HXXPS://BAD[.]example/?u=hxxp://www[.]bad.example/"),
        ("ht\u200btp://bad.example/", "hxxp://bad[.]example/"),
        ("http://a:b@bad.example/x.y", "hxxp://a:b@bad[.]example/x.y"),
    ],
)
def test_a_neutralised_url_is_readable_and_dead(source: str, output: str) -> None:
    got, result = rewritten(source)
    assert got == output
    assert [row.outcome for row in result.rows] == [Outcome.NEUTRALISED]
    assert find(got) == []


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("open file://server/share.lnk now", "open file[:]//server/share.lnk now"),
        ("SEARCH-MS:query=x&crumb=location:y", "SEARCH-MS[:]query=x&crumb=location:y"),
        ("\\\\evil.example\\share\\x.docx", "[\\\\]evil.example\\share\\x.docx"),
        ("(\\\\192.0.2.1\\c$", "([\\\\]192.0.2.1\\c$"),
        ("\\\\evil@SSL\\DavWWWRoot\\x", "[\\\\]evil@SSL\\DavWWWRoot\\x"),
        ("\\\\neighbour\\share and \\\\hline\\textbf", "\\\\neighbour\\share and \\\\hline\\textbf"),
        ("\\\\a.example\\x;\\\\b.example\\y", "[\\\\]a.example\\x;[\\\\]b.example\\y"),
        ("ms-word:ofe|u|https://a.jp/x", f"ms-word[:]ofe|u|{OURS}a.jp/1abcdefx"),
        ("the file: report, profile://x, javascript:void(0)", "the file: report, profile://x, javascript:void(0)"),
        ("https://a.jp/?u=file://x", f"{OURS}a.jp/1abcdefx"),  # inside a URL that is sealed
    ],
)
def test_dangerous_schemes_that_clients_link_are_broken(source: str, output: str) -> None:
    assert rewritten(source)[0] == output


def test_a_kept_url_keeps_its_bytes() -> None:
    source = f"{OURS}a.jp/1abcdefxを見る"
    output, result = rewritten(source)
    assert output == source
    assert [row.reason for row in result.rows] == ["own_link"]


def test_protect_learns_how_the_url_was_written() -> None:
    asked: list[Link] = []

    def remember(link: Link) -> Fate:
        asked.append(link)
        return Keep("scope")

    rewrite_text("www.a.jp https://b.jp/詳細", part="1", protect=remember, options=Options())
    assert [(link.kind, link.text, link.implied, link.in_text) for link in asked] == [
        (Kind.TEXT, "www.a.jp", True, True),
        (Kind.TEXT, "https://b.jp/", False, True),
    ]
    assert asked[1].other == "https://b.jp/%E8%A9%B3%E7%B4%B0"


@pytest.mark.parametrize(
    ("bare", "found"),
    [(Bare.OFF, []), (Bare.PATH, ["a.example.com/x"]), (Bare.ALL, ["a.example.com/x", "b.com"])],
)
def test_urls_without_a_scheme_are_a_choice(bare: Bare, found: list[str]) -> None:
    assert [item.text for item in find("a.example.com/x and b.com or co.uk, c.invalid/x, ~/d.com/x", bare)] == found


def test_lines_do_not_grow_past_their_limit() -> None:
    source = "> " + "word " * 15 + "http://a.example/ http://b.example/"
    output, _ = rewritten(source, line_limit=100)
    assert max(map(len, output.splitlines())) <= 100
    assert all(line.startswith("> ") for line in output.splitlines())
    flowed, _ = rewritten(source, line_limit=100, flowed=True)
    assert flowed.splitlines()[0].endswith(" ")


def test_a_break_of_flowed_text_leaves_a_space_before_the_link() -> None:
    """RFC 3676, 4.1: with DelSp a reader drops the last space; without another one the link would be glued to a word."""
    source = "x" * 80 + " https://a.jp/x y"
    how = {"line_limit": 100, "flowed": True, "delsp": True}
    output, result = rewritten(source, **how)
    assert output.startswith("x" * 80 + "  \n")
    _, again = rewritten(output, **how)
    assert [row.url for row in again.rows] == [row.link for row in result.rows]


@pytest.mark.parametrize(
    "piece", ["(", "http://", "www.", "<http://", "http://a/(", "http://a/を(", "www.例", "a.co/", "あ.jp/"]
)
def test_repeated_beginnings_come_to_an_end(piece: str) -> None:
    source = piece * (200_000 // len(piece))
    found = find(source, Bare.ALL)
    assert all(item.start < item.end for item in found)


PIECES = [
    *"aZ0-_.:/?#&=%@+~!,;'\"()[]<>* \n\\x",
    *("http://", "https://", "www.", ".com", ".jp/", ".pdf", "/wiki/", "bad.example", "> ", " \r\n"),
    *"を東한・。（）～\u200b\u200d\u00ad\u3000é①✪",
]
ALPHABET = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@settings(max_examples=400, deadline=None)
@given(ALPHABET, st.booleans())
def test_any_text(source: str, delsp: bool) -> None:
    output, result = rewritten(source, flowed=delsp, delsp=delsp)
    found = find(source)
    assert all(a.end <= b.start for a, b in pairwise(found))
    assert all(parse(item.url).href == item.url for item in found)
    assert len(result.rows) == len(find(source)) or delsp
    again = rewrite_text(output, part="1", protect=protect, options=Options(), flowed=delsp, delsp=delsp)
    assert apply(output, again.edits) == output


@settings(max_examples=400, deadline=None)
@given(ALPHABET)
def test_no_token_is_lengthened_by_what_stands_behind(source: str) -> None:
    for item in find(source):
        behind = source[item.end : item.end + 1]
        assert not (behind.isascii() and behind.isalnum()), (item, behind)


def test_the_quick_look_for_hidden_characters_overlooks_none() -> None:
    from rewriter.text_joined import _HIDDEN, _MAY_HIDE

    overlooked = [code for code in range(0x110000) if _HIDDEN.match(chr(code)) and not _MAY_HIDE.match(chr(code))]
    assert overlooked == []

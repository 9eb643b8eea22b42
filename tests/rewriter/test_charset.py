"""Charsets.

Invariants: a body is read in the charset that it is in, not in the one that it claims (fixtures/charset_labels.jsonl, one
reason a row); an edit of the text changes the bytes of its span alone, in every charset, and what stands behind a span
reads as before.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.charset import byte_edits, decode, lookup
from rewriter.edit import Edit, apply
from rewriter.readings import Doubt, View

FIXTURE = Path(__file__).parents[2] / "fixtures" / "charset_labels.jsonl"
CODECS = {
    "utf-8": "utf-8",
    "utf-16le": "utf-16-le",
    "iso-2022-jp": "iso2022_jp_ext",
    "hz-gb-2312": "hz",
    "shift_jis": "cp932",
    "euc-jp": "euc_jp",
    "gb18030": "gb18030",
    "big5": "big5hkscs",
    "euc-kr": "cp949",
    "windows-1252": "cp1252",
}


def rows() -> list[dict]:
    with FIXTURE.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["id"])
def test_a_body_is_read_in_its_charset(row: dict) -> None:
    found = decode(row["bytes"].encode("latin-1"), row["label"])
    assert (found.text, found.codec, list(found.notes)) == (row["text"], row["codec"], row["notes"]), row["why"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("UTF8", "utf-8"), ('"utf-8"', "utf-8"), ("sjis-win", "shift_jis"), ("x-sjis", "shift_jis"), ("rot13", None),
        ("utf-7", None), ("iso-2022-kr", None), ("", None), ("\u00fctf-8", None), ("cp50220", "iso-2022-jp"),
    ],
)  # fmt: skip
def test_labels_are_those_of_the_web_and_of_mail(label: str, name: str | None) -> None:
    assert lookup(label) == name


LETTERS = {
    "shift_jis": "あア漢①x~ ", "iso-2022-jp": "あ漢x (\r\n", "hz-gb-2312": "报告x \n", "euc-jp": "あ漢x",
    "gb18030": "报€x\U0001f600", "big5": "報x ", "euc-kr": "한x ", "windows-1252": "é“x",
    "utf-8": "あéx\U0001f600", "utf-16le": "あx\U0001f600",
}  # fmt: skip


@given(st.data())
def test_an_edit_changes_its_span_alone(data: st.DataObject) -> None:
    label = data.draw(st.sampled_from(sorted(LETTERS)))
    text = data.draw(st.text(st.sampled_from(LETTERS[label]), min_size=1, max_size=30))
    content = text.encode(CODECS[label])
    found = decode(content, label)
    if found.codec == "utf-8" and label != "utf-8":
        return  # ASCII alone, or UTF-8 by chance
    cuts = sorted(data.draw(st.sets(st.integers(0, len(found.text)), max_size=6)))
    edits = [Edit(start, end, "https://x/") for start, end in zip(cuts[::2], cuts[1::2], strict=False)]
    new = apply(content, byte_edits(found, edits))
    assert decode(new, label).text == apply(found.text, edits) or decode(new, label).codec != found.codec


def test_bytes_that_decode_to_nothing_keep_their_place() -> None:
    """A wrong label never costs a byte outside the edits: broken characters stay as they are."""
    content = b"\x82 \xff https://a.example/ \x81\r\nend \x81"
    found = decode(content, "shift_jis")
    start = found.text.index("https")
    end = found.text.index(" ", start)
    assert apply(content, byte_edits(found, [Edit(start, end, "N")])) == b"\x82 \xff N \x81\r\nend \x81"


def test_two_spellings_of_one_character_stay_as_they_are() -> None:
    content = b"\xed\x40 https://a.example/ \xfa\x5c"  # the same kanji of NEC and of IBM
    found = decode(content, "shift_jis")
    assert apply(content, byte_edits(found, [Edit(2, 20, "N")])) == b"\xed\x40 N \xfa\x5c"


def test_an_edit_inside_a_shifted_stretch_shifts_out_and_back() -> None:
    content = "あいう".encode("iso2022_jp")
    found = decode(content, "iso-2022-jp")
    new = apply(content, byte_edits(found, [Edit(1, 2, "N")]))
    assert new == b'\x1b$B$"\x1b(BN\x1b$B$&\x1b(B'


def test_utf_7_is_a_second_reading() -> None:
    content = b"see +AGgAdAB0AHAAcw-://a.example/ +MEI-"
    view = View()
    assert decode(content, "utf-7", view=view).codec == "utf-8"
    assert view.seen == {Doubt.UTF7}
    found = decode(content, "utf-7", view=View(frozenset({Doubt.UTF7})))
    assert found.text == "see https://a.example/ あ"
    new = apply(content, byte_edits(found, [Edit(4, 6, "N"), Edit(7, 22, "M")]))
    assert new.decode("utf-7") == "see NtM あ"
    assert new.startswith(b"see ")
    assert new.endswith(b" +MEI-")


def test_links_that_a_charset_hides_are_a_second_reading() -> None:
    view = View()
    decode(b"\x1b$Bhttp://a.b\x1b(B", "iso-2022-jp", view=view)
    assert Doubt.CHARSET in view.seen


@given(
    st.lists(st.sampled_from([b"a\0", b"\x3d\xd8", b"\x00\xde", b"\x42\x30", b"\n\0", b"h\0"]), max_size=20),
    st.booleans(),
    st.data(),
)
def test_broken_utf_16_keeps_its_places(units: list[bytes], odd: bool, data: st.DataObject) -> None:
    content = b"\xff\xfe" + b"".join(units) + b"x" * odd
    found = decode(content, "")
    whole = len(found.text) - odd  # nothing can stand behind half a code unit
    start, end = sorted((data.draw(st.integers(0, whole)), data.draw(st.integers(0, whole))))
    new = decode(apply(content, byte_edits(found, [Edit(start, end, "|NEW|")])), "").text
    assert new == found.text[:start] + "|NEW|" + found.text[end:]


QUERIES = [
    ("text of ASCII, and a label", b"<a>", "iso-8859-1", "cp1252"),
    ("in a charset that shifts", b"<a>", "iso-2022-jp", "iso-2022-jp"),
    ("no label but a meta", b"<meta charset=shift_jis>", "", "shift_jis"),
    ("the label comes before a meta", b"<meta charset=shift_jis>", "utf-8", "utf-8"),
    ("a meta in UTF-16 cannot be", b"<meta charset=utf-16>", "", "utf-8"),
    ("nothing said", b"<a>", "", "utf-8"),
    ("UTF-16", "é".encode("utf-16-le"), "utf-16le", "utf-8"),
    ("GBK", "报".encode("gbk"), "gb2312", "gbk"),
]


@pytest.mark.parametrize(("why", "content", "label", "encoding"), QUERIES, ids=[row[0] for row in QUERIES])
def test_the_encoding_of_queries(why: str, content: bytes, label: str, encoding: str) -> None:
    assert decode(content, label, html=True).query_encoding == encoding, why

"""Transfer encodings.

Invariants: decoding agrees with the standard library where that is right; a splice decodes to the decoded bytes with the
edits carried out; in quoted-printable every octet outside the edits stays, and no line of ours is over 76; in base64 the
layout stays.
"""

from __future__ import annotations

import base64
import binascii
import quopri
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.edit import Edit, apply
from rewriter.readings import Doubt, View
from rewriter.transfer import (
    changes,
    decode,
    decode_base64,
    encode,
    encode_qp,
    encoding_name,
    has_long_line,
    is_exact_name,
    splice,
)

NAMES = [
    ("base64", "base64", True, "as RFC 2045 writes it"),
    ("BASE64 ", "base64", True, "case and blanks"),
    ("base64 (comment)", "base64", False, "RFC 2045, 5.1 allows comments"),
    ('"base64"', "base64", False, "quotes, seen in spam"),
    ("base64;x=y", "base64", False, "a parameter where none may be"),
    ("quoted-printable", "quoted-printable", True, ""),
    ("Quoted_Printable", "quoted-printable", False, "seen in mail of scripts"),
    ("x-uuencode", "uuencode", False, "older than MIME"),
    ("8bit", "7bit", False, "identity"),
    ("rot13", "7bit", False, "unknown: shown as it stands"),
    ("", "7bit", False, ""),
]


@pytest.mark.parametrize(("field", "name", "exact", "why"), NAMES)
def test_the_name_is_read_as_clients_read_it(field: str, name: str, exact: bool, why: str) -> None:
    assert encoding_name(field) == name, why
    assert is_exact_name(field) is exact, why


QUOTED = [
    (b"a=3Db", b"a=b", "an escape"),
    (b"a=3db", b"a=b", "in lower case"),
    (b"a=\r\nb=\nc", b"abc", "soft breaks"),
    (b"a= \t\r\nb", b"ab", "with blanks behind, which the standard library does not join"),
    (b"a=ZZb", b"a=ZZb", "an escape that is none"),
    (b"a=", b"a=", "cut off"),
    (b"a \r\nb", b"a \r\nb", "blanks at the end of a line stay"),
    (b"=E3=81=82", "あ".encode(), "bytes of a character"),
    (b"", b"", "nothing"),
]


@pytest.mark.parametrize(("raw", "content", "why"), QUOTED)
def test_quoted_printable_is_decoded_as_clients_do(raw: bytes, content: bytes, why: str) -> None:
    assert decode(raw, "quoted-printable").content == content, why


PADDED = [
    (b"YQ==", b"a", "padded"),
    (b"YQ", b"a", "not padded"),
    (b"YQ==Yg==", b"ab", "data behind the padding: read anew"),
    (b"Y\r\nQ*=", b"a", "junk between"),
    (b"YWJjZ", b"abc", "one letter too many"),
    (b"", b"", "nothing"),
    (b"====", b"", "padding alone"),
]


@pytest.mark.parametrize(("raw", "content", "why"), PADDED)
def test_base64_is_decoded_as_clients_do(raw: bytes, content: bytes, why: str) -> None:
    assert decode_base64(raw) == content, why


def test_data_behind_padding_has_two_readings() -> None:
    view = View(frozenset({Doubt.PADDING}))
    assert decode_base64(b"YQ=WJj", view) == binascii.a2b_base64(b"YQWJjA==")[:3]
    assert view.seen == {Doubt.PADDING}


def test_uuencode_comes_back() -> None:
    content = bytes(range(256))
    raw = encode(content, "uuencode", b"begin 644 name\r\n")
    assert raw.startswith(b"begin 644 name\r\n")
    assert decode(raw, "uuencode").content == content


pieces = st.sampled_from(
    [b"a", b"=", b"=3D", b"=\r\n", b"=\n", b"= \n", b"\r\n", b"\n", b" ", b"=E3", b"x" * 40, b"=zz", b"\r", b"\t"]
)


@given(st.lists(pieces, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=8), st.binary(max_size=90))
def test_a_splice_in_quoted_printable_changes_the_edits_alone(raw: bytes, places: list[int], new: bytes) -> None:
    decoded = decode(raw, "quoted-printable")
    spans = sorted({min(place, len(decoded.content)) for place in places})
    edits = [Edit(start, end, new) for start, end in zip(spans[::2], spans[1::2], strict=False)]
    spliced = splice(decoded, edits)
    wanted = apply(decoded.content, edits)
    got = decode(apply(raw, spliced), "quoted-printable").content
    # An escape that is broken can become a whole one by what stands behind it now.
    if b"=zz" not in raw and not raw.endswith(b"="):
        assert got == wanted
    assert [edit.end <= after.start for edit, after in pairwise(spliced)].count(False) == 0


@given(st.binary(max_size=400), st.binary(min_size=80, max_size=300))
def test_a_spliced_line_is_no_longer_than_it_may_be(body: bytes, new: bytes) -> None:
    raw = quopri.encodestring(body.replace(b"\r", b"").replace(b"\n", b"") + b"!")
    decoded = decode(raw, "quoted-printable")
    edits = splice(decoded, [Edit(len(decoded.content) // 2, len(decoded.content) // 2, new)])
    assert max(map(len, apply(raw, edits).splitlines())) <= 76


@given(st.binary(max_size=300), st.integers(1, 25), st.sampled_from([b"\r\n", b"\n"]), st.binary(max_size=50))
def test_base64_keeps_its_layout(content: bytes, quads: int, ending: bytes, new: bytes) -> None:
    text = base64.b64encode(content)
    width = 4 * quads
    raw = b"".join(text[place : place + width] + ending for place in range(0, len(text), width))
    decoded = decode(raw, "base64")
    assert decoded.content == content
    assert encode(content, "base64", raw) == raw
    (change,) = changes(7, decoded, [Edit(0, 0, new)])
    assert decode_base64(change.edit.new) == new + content
    assert (change.edit.start, change.edit.end, change.inner) == (7, 7 + len(raw), (Edit(0, 0, new),))


@given(st.binary(max_size=300))
def test_a_body_encoded_anew_is_the_same_body(content: bytes) -> None:
    raw = encode_qp(content, b"\r\n")
    lines = decode(raw, "quoted-printable").content.splitlines()
    assert lines == content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n").splitlines()
    assert not raw or max(map(len, raw.split(b"\r\n"))) <= 76


@pytest.mark.parametrize(
    ("raw", "is_long"), [(b"x" * 998, False), (b"x" * 999, True), (b"\n" + b"x" * 998 + b"\r\n", False), (b"", False)]
)
def test_long_lines_are_those_over_998_octets(raw: bytes, is_long: bool) -> None:
    assert has_long_line(raw) is is_long
    assert has_long_line(b"a\r\n" * 5000 + raw + b"\r\n" + b"b\r\n" * 5000) is is_long

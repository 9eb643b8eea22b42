"""Header fields.

Invariants: fields are found where they stand and never written anew; adding a field and removing it gives the same bytes;
subjects and names are readable however they were encoded.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewriter.edit import apply
from rewriter.headers import facts, field, field_edit, fields, remove_fields

RAW = (
    b"Received: by x\r\n\tfor y\r\nFrom: =?utf-8?B?5bGx55Sw?= <Yamada@Example.jp>\r\nTo: a@example.org, B <b@example.org>\r\n"
    b"Cc: c@example.org\r\nSubject: plain\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Tue, 24 Nov 2026 09:00:00 +0000\r\n\r\nSubject: no\r\n"
)


def test_facts_of_an_ordinary_mail() -> None:
    found = facts(RAW)
    assert (found.sender, found.sender_name) == ("Yamada@Example.jp", "山田")
    assert found.recipients == ("a@example.org", "b@example.org", "c@example.org")
    assert (found.subject, found.message_id) == ("plain", "<1@example.org>")
    assert found.date == "Tue, 24 Nov 2026 09:00:00 +0000"


SUBJECTS = [
    (b"=?utf-8?Q?a_b=3D?=", "", "a b=", "RFC 2047, Q"),
    (b"=?utf-8?B?5pel?= =?utf-8?B?5pys?=", "", "日本", "blanks between words are no text"),
    (b"=?utf-8?B?5pc=?= =?utf-8?B?peacrA==?=", "", "日本", "a word split inside a character"),
    (b"=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "", "日本", "the charset of Japanese mail"),
    (b"=?iso-2022-jp?B?GyRCLSEbKEI=?=", "", "①", "with a vendor's character"),
    ("日本".encode(), "", "日本", "raw UTF-8 (RFC 6532)"),
    ("日本".encode("cp932"), "shift_jis", "日本", "raw, in the body's charset"),
    ("週報のお知らせ".encode("euc_jp"), "", "週報のお知らせ", "raw, and nothing says in which"),
    (b"=?utf-8*en?Q?a?=", "", "a", "with a language (RFC 2231, 5)"),
    (b"=?x-unknown?Q?abc?=", "", "abc", "an unknown charset"),
    (b"a\r\n b", "", "a b", "folded"),
    (b"a =?utf-8?Q?b?= c", "", "a b c", "words among words"),
    (b"=?utf-8?B?!!!?=", "", "", "base64 that is none"),
    (b"=?utf-8?Q?a=0D=0ABcc:_x?=", "", "a  Bcc: x", "no line break gets into the record"),
]


@pytest.mark.parametrize(("raw", "body_charset", "subject", "why"), SUBJECTS)
def test_subjects_are_readable(raw: bytes, body_charset: str, subject: str, why: str) -> None:
    found = facts(b"Subject: " + raw + b"\r\n\r\n", body_charset)
    assert found.subject == subject, why
    assert found.subject_raw == raw


def test_a_field_added_stands_on_top_folded_and_can_be_removed() -> None:
    new = apply(RAW, [field_edit(RAW, "Toc-Restore", b"x" * 300)])
    assert new.startswith(b"Toc-Restore: xxx")
    assert max(map(len, new.splitlines())) <= 76
    assert b"".join(field(new, "toc-restore")[0].split()) == b"x" * 300
    assert remove_fields(new, {"toc-restore"}) == RAW


ODD = [
    (b"From a@b Tue\nSubject: x\n\ny", b"From a@b Tue\nT: v\nSubject: x\n\ny", "below the line of an mbox"),
    (b" folded\nSubject: x\n\ny", b" folded\nT: v\nSubject: x\n\ny", "not above a line that would become a part of it"),
    (b"\nbody", b"T: v\n\nbody", "an empty header"),
]


@pytest.mark.parametrize(("raw", "new", "why"), ODD)
def test_a_field_never_takes_in_what_follows(raw: bytes, new: bytes, why: str) -> None:
    assert apply(raw, [field_edit(raw, "T", b"v")]) == new, why
    assert remove_fields(new, {"t"}) == raw


def test_only_the_header_is_searched() -> None:
    assert field(RAW, "Subject") == [b" plain"]
    assert remove_fields(RAW, {"subject"}).endswith(b"\r\n\r\nSubject: no\r\n")


@given(
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"A: b", b" c", b"\r\n", b"\n", b"\r", b":", b"d"]), max_size=20).map(b"".join)
)
def test_fields_lie_within_and_ascend(raw: bytes) -> None:
    place = 0
    for item in fields(raw):
        assert place <= item.start < item.end <= len(raw)
        assert raw[item.start : item.end].lower().startswith(item.name.encode())
        place = item.end
    facts(raw)

"""Changes: carried out by a mail server, the packets make the new mail of the old one, and a field that is the same in
both is never mentioned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mail_server import Held, packets

from rewriter.milter.changes import Field, body_changes, build, header_changes, split

MIME = (b"MIME-Version", b" 1.0")
SUBJECT = (b"Subject", b"  two blanks\r\n\tand a tab")


def carried_out(old: list[tuple[bytes, bytes]], new: list[tuple[bytes, bytes]]) -> Held:
    wire = [(name, value.replace(b"\r\n", b"\n")) for name, value in old]
    held = Held(wire, b"")
    stream = b"".join(header_changes([Field(*f) for f in old], [Field(*f) for f in new], leading_space=True))
    for command, data in packets(stream):
        assert not held.apply(command, data)
    held.fields = [(name, value.replace(b"\n", b"\r\n")) for name, value in held.fields]
    return held


CASES = {
    "nothing changes": ([MIME, SUBJECT], [MIME, SUBJECT]),
    "a field on top stays on top": ([MIME, SUBJECT], [(b"Toc-Restore", b" a\r\n b"), MIME, SUBJECT]),
    "two fields on top keep their order": ([MIME], [(b"Toc-Result", b" 1"), (b"Toc-Restore", b" 2"), MIME]),
    "a field at the end": ([MIME], [MIME, (b"X", b" 1")]),
    "a field in the middle": ([MIME, SUBJECT], [MIME, (b"X", b" 1"), SUBJECT]),
    "fields go and come at once": (
        [(b"Toc-Restore", b" forged"), MIME, (b"X", b" 1"), SUBJECT],
        [(b"Toc-Result", b" 1"), MIME, (b"Y", b" 2"), (b"Z", b" 3"), SUBJECT, (b"Y", b" 4")],
    ),
    "a value changes where it stands": (
        [(b"Content-Transfer-Encoding", b" 8bit"), MIME],
        [(b"Content-Transfer-Encoding", b" base64"), MIME],
    ),
    "a forged field goes": ([(b"Toc-Result", b" forged"), MIME], [MIME]),
    "all of three of one name go": ([(b"X", b" 1"), MIME, (b"x", b" 2"), (b"X", b" 3")], [MIME]),
    "the second of three goes": ([(b"X", b" 1"), (b"X", b" 2"), (b"X", b" 3")], [(b"X", b" 1"), (b"X", b" 3")]),
    "no fields at all": ([], [(b"Toc-Restore", b" a")]),
    "names are the same whatever their case": ([(b"SUBJECT", b" a")], [(b"Subject", b" b")]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_new_header_comes_out(name: str) -> None:
    old, new = CASES[name]
    held = carried_out(old, new)
    assert [(key.lower(), value) for key, value in held.fields] == [(key.lower(), value) for key, value in new]


def test_one_more_of_a_name_on_top_leaves_those_below_as_they_are() -> None:
    """A signature below covers its own field's bytes and place."""
    old = [MIME, (b"DKIM-Signature", b" theirs"), SUBJECT, (b"DKIM-Signature", b" older")]
    new = [(b"DKIM-Signature", b" ours"), *old]
    assert carried_out(old, new).fields == new
    stream = b"".join(header_changes([Field(*f) for f in old], [Field(*f) for f in new], leading_space=True))
    assert [command for command, _ in packets(stream)] == ["i"]


NAMES = st.sampled_from([b"Subject", b"X", b"x", b"Toc-Restore", b"Received"])
VALUES = st.sampled_from([b" a", b"b", b"", b" a\r\n\tfold", b"  c "])
FIELDS = st.lists(st.tuples(NAMES, VALUES.filter(bool)), max_size=8)


@given(FIELDS, FIELDS)
def test_any_header_becomes_any_other_name_by_name(
    old: list[tuple[bytes, bytes]], new: list[tuple[bytes, bytes]]
) -> None:
    held = carried_out(old, new)
    for name in {key.lower() for key, _ in old + new}:
        values = [value for key, value in new if key.lower() == name]
        assert [value for key, value in held.fields if key.lower() == name] == values
        if [value for key, value in old if key.lower() == name] == values:
            assert name not in held.touched


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.binary(max_size=40))
def test_split_is_the_inverse_of_build(fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    message = build([Field(*f) for f in fields], body)
    found, rest = split(message)
    assert [(f.name, f.value) for f in found] == fields
    assert bytes(rest) == body


def test_a_header_without_leading_space_on_the_wire_loses_exactly_one() -> None:
    """Sendmail before 8.14 adds one blank itself."""
    stream = b"".join(header_changes([Field(b"A", b" y")], [Field(b"A", b"  x")], leading_space=False))
    assert list(packets(stream)) == [("m", b"\0\0\0\x01A\0 x\0")]


@pytest.mark.parametrize("size", [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000])
def test_a_body_is_replaced_in_chunks_that_fit(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    new = memoryview(body)[:size]
    sent = list(packets(b"".join(body_changes(memoryview(b"old"), new))))
    assert {command for command, _ in sent} == {"b"}
    assert b"".join(data for _, data in sent) == new
    assert all(len(data) <= 65_535 for _, data in sent)


def test_an_equal_body_is_not_sent() -> None:
    assert list(body_changes(memoryview(b"same"), memoryview(b"same"))) == []


def test_a_field_that_no_mail_server_would_take_whole_is_left_out() -> None:
    """Sendmail closes the connection at a packet over 64 KiB, and the mail would wait for ever."""
    assert carried_out([MIME], [(b"Toc-Restore", b" " + b"x" * 60_001), MIME]).fields == [MIME]

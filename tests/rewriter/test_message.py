"""Messages as wholes.

Invariants: without a link the very same bytes come back; every URL that was found is in the receipt; a limit or a surprise
leaves nothing raw and raises nothing; parts that can hold no link are never touched; a failing judge is a surprise like any
other.
"""

from __future__ import annotations

import base64
import email

import pytest

from rewriter.edit import apply
from rewriter.message import Rewritten, difference, rewrite_body, rewrite_message
from rewriter.options import OnUnscannable, Options
from rewriter.receipt import Outcome
from rewriter.restore import restore_message
from tests.reversible import link_to, open_link, open_restore, protect, seal_restore
from toc.link import Fate, Keep, Link, Neutralise

URL = "https://example.org/a"
TEXT = b"see https://example.org/a now\r\n"


def mixed(*parts: bytes) -> bytes:
    head = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return head + b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + b"--b--\r\n"


def outcomes(done: Rewritten) -> list[tuple[str, str, str]]:
    return [(row.part, row.outcome.value, row.reason) for row in done.rows]


def test_a_message_without_links_is_the_same_object() -> None:
    raw = b"Subject: x\r\n\r\nhello\r\n"
    done = rewrite_message(raw, protect, Options(), lambda data: "x")
    assert done.message == raw
    assert (done.changed, done.rows, done.complete) == (False, (), True)


def test_counts_follow_the_receipt() -> None:
    def fates(link: Link) -> Fate:
        return {"a": Neutralise("too_long"), "b": Keep("policy")}.get(link.url[-1]) or protect(link)

    body = f"https://x.example/a https://x.example/b https://x.example/c {link_to(URL)} mailto:a@example.org"
    done = rewrite_message(b"\r\n" + body.encode(), fates, Options())
    assert (done.rewritten, done.kept, done.neutralised, done.unprotected) == (1, 2, 1, 1)
    assert [row.link for row in done.rows if row.outcome is Outcome.REWRITTEN] == [link_to("https://x.example/c")]


ATTACHED = [
    (b"Content-Type: image/png\r\n\r\nhttps://example.org/a", [], "an image is not looked at"),
    (b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n!!", [], "an archive neither"),
    (
        b"Content-Type: text/html\r\nContent-Disposition: attachment; filename=x.html\r\n\r\n<a href='&#104;ttps://example.org/a'>",
        [("1.2", "not_coverable", "not_coverable")],
        "an HTML attachment is opened elsewhere: its URLs are listed, references resolved",
    ),
    (
        b"Content-Type: application/octet-stream; name=X.HTM\r\n\r\n<a href='https://example.org/a'>",
        [("1.2", "not_coverable", "not_coverable")],
        "by its name",
    ),
    (
        b"Content-Type: application/ms-tnef\r\n\r\n\0\0https://example.org/a\0",
        [("1.2", "not_coverable", "not_coverable")],
        "TNEF",
    ),
    (
        b"Content-Type: application/ms-tnef\r\n\r\n" + "https://example.org/a".encode("utf-16-le"),
        [("1.2", "not_coverable", "not_coverable")],
        "TNEF in two bytes a character",
    ),
]


@pytest.mark.parametrize(("part", "rows", "why"), ATTACHED, ids=[why for _, _, why in ATTACHED])
def test_what_we_cannot_edit_is_listed_and_stays(part: bytes, rows: list[tuple[str, str, str]], why: str) -> None:
    raw = mixed(b"\r\nhello", part)
    done = rewrite_message(raw, protect, Options())
    assert done.message == raw, why
    assert outcomes(done) == rows
    assert done.unprotected == len(rows)
    assert [row.url for row in done.rows] == [URL] * len(rows)


def encoded(text: bytes) -> bytes:
    return b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(text)


def nested(depth: int) -> bytes:
    part = encoded(TEXT)
    for level in range(depth):
        part = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n%s\r\n--b%d--\r\n" % (
            level,
            level,
            part,
            level,
        )
    return part


LIMITS = [
    (mixed(*[b"\r\nhello"] * 5, encoded(TEXT)), Options(max_parts=4), "too many parts"),
    (nested(6), Options(max_depth=3), "too deep"),
    (mixed(encoded(TEXT)), Options(max_message=50), "too large"),
    (mixed(b"Content-Type: message/partial; number=1; id=x\r\n\r\nSubject: y\r\n\r\n" + TEXT), Options(), "in pieces"),
]


@pytest.mark.parametrize(("raw", "options", "why"), LIMITS, ids=[why for _, _, why in LIMITS])
def test_beyond_a_limit_links_are_broken_in_what_a_client_would_decode(raw: bytes, options: Options, why: str) -> None:
    done = rewrite_message(raw, protect, options)
    assert not done.complete, why
    assert "unscannable" in done.notes
    text = done.message + b"".join(leaves(done.message))
    assert b"https://" not in text
    assert b"hxxps://example.org/a" in text


def leaves(raw: bytes) -> list[bytes]:
    """What the standard library decodes."""
    decoded = (part.get_payload(decode=True) for part in email.message_from_bytes(raw).walk())
    return [item for item in decoded if isinstance(item, bytes)]


@pytest.mark.parametrize(
    ("choice", "disposition"),
    [
        (OnUnscannable.HOLD, OnUnscannable.HOLD),
        (OnUnscannable.TEMPFAIL, OnUnscannable.TEMPFAIL),
        (OnUnscannable.PASS, None),
    ],
)
def test_the_operator_chooses_what_becomes_of_the_unscannable(
    choice: OnUnscannable, disposition: OnUnscannable | None
) -> None:
    raw = mixed(encoded(TEXT))
    done = rewrite_message(raw, protect, Options(max_message=50, on_unscannable=choice))
    assert (done.message, done.complete, done.disposition) == (raw, False, disposition)
    assert [row.url for row in done.rows if row.url] == ["https://example.org/a"]
    assert done.unprotected == 1


def test_a_surprise_in_one_part_leaves_the_others_alone() -> None:
    def failing(link: Link) -> Fate:
        if "b.example" in link.url:
            raise RuntimeError("a judge that breaks")
        return protect(link)

    done = rewrite_message(mixed(b"\r\nhttps://b.example/", b"\r\n" + TEXT), failing, Options())
    assert outcomes(done) == [
        ("1.1", "not_coverable", "unscannable"),
        ("1.1", "neutralised", "unscannable"),
        ("1.2", "rewritten", "sealed"),
    ]
    assert b"hxxps://b.example/" in done.message
    assert link_to(URL).encode() in done.message


def test_a_line_that_would_grow_too_long_is_encoded_anew() -> None:
    html = b"<p>" + b"x" * 950 + b'<a href="https://example.org/a">y</a></p>'
    raw = b"Subject: x\r\nContent-Type: text/html\r\nX: y\r\n\r\n" + html + b"\r\n"
    done = rewrite_message(raw, protect, Options())
    assert b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\nX: y\r\n" in done.message
    assert max(map(len, done.message.splitlines())) <= 76
    seven = raw.replace(b"X: y", b"Content-Transfer-Encoding: 7bit")
    assert rewrite_message(seven, protect, Options()).message.count(b"Content-Transfer-Encoding") == 1


def test_bare_bodies_are_read_by_their_content_type() -> None:
    html = rewrite_body(b'<a href="https://example.org/a">y</a>', "text/html; charset=utf-8", protect, Options())
    assert html.message == b'<a href="%s">y</a>' % link_to(URL).encode()
    flowed = rewrite_body(b"https://exam \r\nple.org/a\r\n", "text/plain; format=flowed; delsp=yes", protect, Options())
    assert [row.url for row in flowed.rows] == [URL]
    japanese = rewrite_body(
        "日本 https://example.org/a".encode("cp932"), "text/plain; charset=shift_jis", protect, Options()
    )
    assert japanese.message == "日本 ".encode("cp932") + link_to(URL).encode()
    assert rewrite_body(b"x", "", protect, Options()).message == b"x"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"a\n\nbcd", b"a\n\nbXd"),
        (b"a\n\nb", b"aa\n\nb"),
        (b"", b"x"),
        (b"x\n\nyy", b"x\n\ny"),
        (b"a\n\nb", b"c\n\nd"),
        (b"q", b"q"),
    ],
)
def test_a_difference_leads_from_old_to_new(old: bytes, new: bytes) -> None:
    assert apply(old, difference(old, new)) == new


def test_a_header_that_begins_with_a_folded_line_keeps_the_order_of_edits() -> None:
    raw = b" folded https://a.example/x\r\nSubject: x\r\n\r\nhttps://b.example/y\r\n"
    done = rewrite_message(raw, protect, Options(), seal_restore, open_restore)
    assert b"https://a.example/x" not in done.message
    assert restore_message(done.message, open_link, open_restore) == raw


def test_a_link_that_one_charset_hides_comes_to_rest() -> None:
    raw = "Content-Type: text/plain; charset=shift_jis\r\n\r\n\u65e5\u672c\u8a9ewww.a.example \r\n".encode()
    done = rewrite_message(raw, protect, Options(), seal_restore, open_restore)
    assert rewrite_message(done.message, protect, Options(), seal_restore, open_restore).message == done.message


def test_our_link_behind_another_url_of_the_same_word_is_put_back() -> None:
    raw = (
        b"Content-Type: text/plain\r\n\r\nhttps://proxy.example/?u="
        + link_to("https://a.example/x").encode()
        + b" end\r\n"
    )
    assert b"?u=https://a.example/x end" in restore_message(raw, open_link, open_restore)


def test_our_field_does_not_take_the_empty_line_behind_it_in() -> None:
    raw = b" fold\r>From x\r\n\nHTTPS://A.example/x\r\n"
    done = rewrite_message(raw, protect, Options(), seal_restore, open_restore)
    assert restore_message(done.message, open_link, open_restore) == raw
    assert rewrite_message(done.message, protect, Options(), seal_restore, open_restore).message == done.message


def test_our_links_stay_in_what_cannot_be_read() -> None:
    own = link_to("https://a.example/x")
    raw = f'Content-Type: message/partial\r\n\r\n<a href="{own}">x</a> {own}. https://b.example/\r\n'.encode()
    done = rewrite_message(raw, protect, Options())
    assert done.message == raw.replace(b"https://b.", b"hxxps://b.")
    assert {(row.outcome, row.url) for row in done.rows if row.url} >= {(Outcome.NEUTRALISED, "https://b.example/")}


def test_readings_that_break_and_seal_by_turns_grow_nothing() -> None:
    """Cut off at the odd line the part is not read; else it is, and holds a link that begins with ``www.``."""
    part = (
        b"Content-Type: message/partial\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\r\r\nwww.a.example\r\n"
    )
    inner = b'Content-Type: multipart/related; boundary="b"\r\n\r\npre\r\n--b \r\n' + part + b"--b--\r\n"
    raw = b"no field\r\nContent-Type: message/rfc822\r\n\r\n" + inner
    done = rewrite_message(raw, protect, Options(), seal_restore, open_restore)
    again = rewrite_message(done.message, protect, Options(), seal_restore, open_restore)
    assert again.message == done.message

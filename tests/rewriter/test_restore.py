"""Restoring.

Invariants: of an untouched rewritten mail the exact original comes back, also with fields put on top on the way; of any other
one the links that open become their targets and nothing else changes; a forged or outdated field is taken out.
"""

from __future__ import annotations

import base64

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rewriter.headers import field
from rewriter.message import rewrite_message
from rewriter.options import Options
from rewriter.restore import restore_body, restore_message
from tests.reversible import link_to, open_link, open_restore, protect, seal_restore

HEAD = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
HTML = (
    b'<p><a href="HTTP://Example.com">x</a> <a href="https://example.org/?a=1&b=2">y</a> www.example.net/\xc3\xa9</p>'
)


def message(kind: bytes, body: bytes, encoding: bytes = b"8bit") -> bytes:
    return HEAD + b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body


def rewritten(raw: bytes) -> bytes:
    done = rewrite_message(raw, protect, Options(), seal_restore)
    assert done.rewritten
    return done.message


MESSAGES = [
    (message(b"text/plain", b"see https://example.org/a now\r\n"), False, "links alone lead back"),
    (
        message(b"text/plain", b"see HTTPS://Example.org now\r\n"),
        True,
        "a target is serialised, the mail spelt it otherwise",
    ),
    (message(b"text/html; charset=utf-8", HTML), True, "references, a bare host, an inserted anchor"),
    (message(b"text/html", base64.encodebytes(HTML), b"base64"), True, "base64"),
    (message(b"text/plain", base64.b64encode(b"https://example.org/ "), b"base64"), False, "base64, links alone"),
    (
        message(b"text/plain", b"a =3D https://example.org/=\r\na\r\n", b"quoted-printable"),
        True,
        "a soft break in the link",
    ),
    (
        message(b"text/html", b"x" * 900 + b'<a href="https://example.org/a">y</a>', b"7bit"),
        True,
        "encoded anew for its long line",
    ),
    (message(b"text/plain; charset=iso-2022-jp", "あ https://例え.jp/ い".encode("iso2022_jp")), True, "shifts"),
    (
        message(b"text/plain; charset=utf-16", "see https://example.org/ \u3042".encode("utf-16")),
        False,
        "two bytes a character",
    ),
]


@pytest.mark.parametrize(
    ("raw", "needs_field", "why"), MESSAGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_exact_original_comes_back(raw: bytes, needs_field: bool, why: str) -> None:
    new = rewritten(raw)
    assert bool(field(new, "toc-restore")) is needs_field, why
    assert restore_message(new, open_link, open_restore) == raw
    passed_on = b"Received: by relay\r\n" + new
    assert restore_message(passed_on, open_link, open_restore) == b"Received: by relay\r\n" + raw


def test_many_links_are_asked_and_not_written_down() -> None:
    links = b"\r\n".join(b"<https://example.org/%d?x=%d>" % (n, n) for n in range(2000)) + b"\r\nHTTP://EXAMPLE.com\r\n"
    raw = message(b"text/plain", links)
    new = rewritten(raw)
    assert len(field(new, "toc-restore")[0]) < 1000
    assert restore_message(new, open_link, open_restore) == raw


def test_own_links_that_were_there_before_stay() -> None:
    own = link_to("https://example.net/").encode()
    raw = message(b"text/plain", own + b" and https://example.org/ and HTTP://X.example\r\n")
    assert restore_message(rewritten(raw), open_link, open_restore) == raw


def test_a_reply_gets_its_targets_back() -> None:
    new = rewritten(message(b"text/html; charset=utf-8", HTML))
    body = new.partition(b"\r\n\r\n")[2]
    reply = message(b"text/html; charset=utf-8", b"<p>thanks</p><blockquote>" + body + b"</blockquote>")
    restored = restore_message(reply, open_link, open_restore)
    assert b"toc.example" not in restored
    assert (
        b'<a href="http://example.com/">x</a> <a href="https://example.org/?a=1&amp;b=2">y</a> www.example.net/'
        in restored
    )


def test_an_outdated_or_forged_field_is_taken_out() -> None:
    new = rewritten(message(b"text/html; charset=utf-8", HTML))
    changed = new.replace(b"</p>", b"!</p>")
    assert b"Toc-Restore" not in restore_message(changed, open_link, open_restore)
    forged = b"Toc-Restore: forged\r\n" + message(b"text/plain", b"hello\r\n")
    assert restore_message(forged, open_link, open_restore) == message(b"text/plain", b"hello\r\n")
    assert rewrite_message(forged, protect, Options()).message == message(b"text/plain", b"hello\r\n")
    garbage = b"Toc-Restore: " + seal_restore(b"no such form").encode() + b"\r\n" + message(b"text/plain", b"hello\r\n")
    assert restore_message(garbage, open_link, open_restore) == message(b"text/plain", b"hello\r\n")


def test_a_folded_link_of_a_calendar_comes_back() -> None:
    link = link_to("https://example.org/a")
    body = f"BEGIN:VCALENDAR\r\nDESCRIPTION:{link[:50]}\r\n {link[50:]} x\r\nEND:VCALENDAR\r\n".encode()
    assert b"DESCRIPTION:https://example.org/a x\r\n" in restore_body(body, "text/calendar", open_link)


def test_links_that_do_not_open_stay() -> None:
    body = b"https://toc.example/u/example.org/1" + b"A" * 80 + b"x\r\n"
    assert restore_body(body, "text/plain", open_link) == body


def test_the_signature_of_the_sender_verifies_again() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)
    mail = message(b"text/html; charset=utf-8", HTML, b"8bit") + b"\r\n"
    signed = dkim.sign(mail, b"s", b"example.org", private, include_headers=[b"from", b"subject"]) + mail
    new = rewritten(signed)
    assert not dkim.verify(new, dnsfunc=lambda *_args, **_more: record)
    restored = restore_message(new, open_link, open_restore)
    assert restored == signed
    assert dkim.verify(restored, dnsfunc=lambda *_args, **_more: record)


def test_a_second_pass_keeps_the_field_that_leads_back() -> None:
    """A gateway that sees its own mail again changes nothing; a field that is forged, doubled or of another body goes."""
    raw = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='HTTP://Example.org'>x</a>\r\n"
    once = rewrite_message(raw, protect, Options(), seal_restore, open_restore).message
    assert once.lower().startswith(b"toc-restore:")
    again = rewrite_message(b"Received: by b\r\n" + once, protect, Options(), seal_restore, open_restore)
    assert (again.message, again.changed) == (b"Received: by b\r\n" + once, False)
    field = once[: once.index(b"Subject")]
    for other in (once + b"footer\r\n", field + once, once.replace(b": ", b": AAAA", 1)):
        done = rewrite_message(other, protect, Options(), seal_restore, open_restore)
        assert b"toc-restore" not in done.message.lower()
    assert b"toc-restore" not in rewrite_message(once, protect, Options(), seal_restore).message.lower()

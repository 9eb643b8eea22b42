"""Any bytes in, a result out.

Invariants: no exception; without links the very same bytes come back; a second pass changes nothing; restoring gives the exact
bytes. Messages are built from pieces that hurt: delimiters, headers cut anywhere, encodings and charsets that lie.
"""

from __future__ import annotations

import base64
import quopri

from hypothesis import given, settings
from hypothesis import strategies as st

from rewriter.headers import facts, remove_fields
from rewriter.inverse import OUR_FIELDS
from rewriter.message import rewrite_body, rewrite_message
from rewriter.options import OnUnscannable, Options
from rewriter.restore import restore_body, restore_message
from tests.reversible import open_link, open_restore, protect, seal_restore

TYPES = (
    "text/plain", "text/html", "text/html (x)", '"text/html"', "text/x-amp-html", "multipart/mixed; boundary=b", "message/rfc822",
    "multipart/alternative; boundary=b; boundary=c", "multipart/signed; boundary=c", "multipart/mixed", "text", "image/png",
    "application/pkcs7-mime", "multipart/mixed; boundary*0=b", "multipart/digest; boundary=bb", "application/octet-stream",
    "text/plain; format=flowed; delsp=yes", "message/partial", "application/ms-tnef",
)  # fmt: skip
CHARSETS = (
    "utf-8",
    "us-ascii",
    "iso-2022-jp",
    "shift_jis",
    "utf-7",
    "utf-16",
    "gbk",
    "hz",
    "cp037",
    "latin1",
    "x",
    "euc-jp",
)
ENCODINGS = ("7bit", "base64", "quoted-printable", "base64 ", "base64;x", "8bit", "uuencode", "rot13", "binary")
TEXTS = (
    "https://a.example/x", "<a href=https://b.example/>y</a>", '<a href="https://c.example/?a=1&amp;b=2">', "\u65e5\u672c",
    "http://\u4f8b\u3048.jp/", "www.d.example/\u00e9", "<iframe src=http://e.example>", "\n--b\n", "\r\n--b--\r\n",
    "\r--c\r", "\x1b$B", "\x1b(B", "~{", "~}", "+AGg-", "=\n", "=3D", "=", " \t\n", "&#104;ttps://f.example/", "\u3042",
    "javascript:x()", "\n\n", "<base href=//g>", "<https://h.example/\nx>",
    "https://toc.example/u/-/1AAAAx", "x" * 80, "-----BEGIN PGP MESSAGE-----\n",
)  # fmt: skip
CODECS = ("utf-8", "utf-16", "iso2022_jp", "cp932", "gb18030", "hz", "utf-7", "latin-1")

texts = st.lists(st.sampled_from(TEXTS), max_size=6).map("".join)
bodies = st.builds(lambda text, codec: text.encode(codec, "replace"), texts, st.sampled_from(CODECS)) | st.binary(
    max_size=60
)


def encoded(body: bytes, how: str) -> bytes:
    match how:
        case "base64":
            return base64.encodebytes(body)
        case "qp":
            return quopri.encodestring(body)
        case _:
            return body


lines = st.one_of(
    st.sampled_from(TYPES).map(lambda kind: f"Content-Type: {kind}".encode()),
    st.builds(
        lambda kind, name: f"Content-Type: {kind}; charset={name}".encode(),
        st.sampled_from(TYPES),
        st.sampled_from(CHARSETS),
    ),
    st.sampled_from(ENCODINGS).map(lambda name: f"Content-Transfer-Encoding: {name}".encode()),
    st.sampled_from(
        [b"Subject: x", b" folded", b"no field", b" ", b"From x", b"Content-Disposition: attachment; filename=a.html"]
    ),
    st.just(b"Toc-Restore: forged"),
)
entities = st.builds(
    lambda head, body, how, end: end.join([*head, b"", encoded(body, how)]),
    st.lists(lines, max_size=4),
    bodies,
    st.sampled_from(["base64", "qp", "plain"]),
    st.sampled_from([b"\r\n", b"\n", b"\r"]),
)
multiparts = st.builds(
    lambda head, parts, end: b"\n".join([*head, b"", *(b"--b\n" + part for part in parts)]) + end,
    st.lists(lines, min_size=1, max_size=3),
    st.lists(entities, max_size=4),
    st.sampled_from([b"\n--b--\n", b"\n--b", b""]),
)
messages = (entities | multiparts | st.binary(max_size=200)).filter(lambda raw: b"calendar" not in raw.lower())
"""Without calendars, which have tests of their own."""


@given(messages)
@settings(max_examples=400, deadline=None)
def test_rewritten_twice_is_rewritten_once_and_comes_back(raw: bytes) -> None:
    done = rewrite_message(raw, protect, Options(), seal_restore)
    clean = remove_fields(raw, OUR_FIELDS)
    if not done.rows:
        assert done.message in (raw, clean)
    if done.complete:
        plain = remove_fields(done.message, OUR_FIELDS)
        again = rewrite_message(plain, protect, Options())
        assert again.message == plain
        assert restore_message(done.message, open_link, open_restore) == clean


@given(messages, st.sampled_from(list(OnUnscannable)))
@settings(max_examples=150, deadline=None)
def test_limits_never_raise(raw: bytes, choice: OnUnscannable) -> None:
    for options in (Options(max_parts=1, on_unscannable=choice), Options(max_message=10, on_unscannable=choice)):
        done = rewrite_message(raw, protect, options, seal_restore)
        if choice is not OnUnscannable.NEUTRALISE and not done.complete and choice is not OnUnscannable.PASS:
            assert done.disposition is choice


@given(bodies, st.sampled_from(TYPES), st.sampled_from(CHARSETS))
@settings(max_examples=200, deadline=None)
def test_bare_bodies_and_facts_never_raise(body: bytes, kind: str, charset: str) -> None:
    rewritten = rewrite_body(body, f"{kind}; charset={charset}", protect, Options())
    restore_body(rewritten.message, f"{kind}; charset={charset}", open_link)
    facts(body)
    restore_message(body, open_link, open_restore)

"""2,156 real mails and fixtures of mail libraries.

Invariants: no mail crashes the rewriter; decoded by the standard library, nothing differs but the links; no line grows
past 998 octets; a second pass changes nothing; restoring gives the exact bytes back.
"""

from __future__ import annotations

import email
import re
import tarfile
from collections.abc import Iterator
from email.message import Message
from itertools import zip_longest
from pathlib import Path

import pytest

from rewriter.headers import remove_fields
from rewriter.message import Rewritten, rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome
from rewriter.restore import restore_message
from tests.conftest import corpus_path
from tests.reversible import damage, open_link, open_restore, protect, seal_restore

SETS = sorted((corpus_path() or Path("/nonexistent")).glob("mail_share/*.tar.gz"))
UNSCANNABLE = {
    "mimekit/76025a0af72d9b476c1a.eml": "message/partial, the first of two",
    "mimekit/f1dbf72b401a7c098910.eml": "message/partial, the second of two",
}
"""Parts that nobody can read to the end."""

NOT_COMPARED = {
    "openbmc_list/3bd61caf205c18512697.eml": "a line would grow past 998 characters and is broken at a space",
    "spamassassin_corpus/64f4ab29f1cdbc78b247.eml": "data behind base64 padding, at which the standard library stops",
    "openbmc_list/4734a5888cff035fcf37.eml": "http://localhost:18898Browserslist: the link ends before a letter",
    "sisimai/2a4cdc1b8e8948f2f57c.eml": "the standard library takes a multipart in quoted-printable for one text",
    "sisimai/a1cc6662a73562cf01d0.eml": "the same",
    "sisimai/e7c26a52dda12c7ad0b0.eml": "the boundary never occurs: the standard library takes all for one text",
    "spamscope/bbeb05efe0e926fe45a9.eml": "the boundary never occurs",
}
"""Mails of which the standard library's view before and after cannot be compared."""


def mails(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file.read()


@pytest.mark.skipif(not SETS, reason="the third-party corpus is not beside the checkout; TOC_CORPUS names its folder")
@pytest.mark.parametrize("archive", SETS, ids=lambda path: path.name.partition(".")[0])
def test_real_mail(archive: Path) -> None:
    failures = []
    for name, raw in mails(archive):
        done = rewrite_message(raw, protect, Options(), seal_restore)
        plain = remove_fields(done.message, {"toc-restore"})
        if not done.complete and name not in UNSCANNABLE:
            failures.append(f"{name}: unscannable")
        if rewrite_message(plain, protect, Options()).message != plain:
            failures.append(f"{name}: a second pass changes it")
        if has_long_line(done.message) and not has_long_line(raw):
            failures.append(f"{name}: a line over 998 octets")
        if restore_message(done.message, open_link, open_restore) != raw:
            failures.append(f"{name}: not restored")
        if comparable(name, done) and (found := damaged(raw, plain)):
            failures.append(f"{name}: {found}")
    assert not failures, "\n".join(failures)


def comparable(name: str, done: Rewritten) -> bool:
    """Whether the standard library sees the same parts as we do, and links are all that may differ."""
    neutralised = any(row.outcome is Outcome.NEUTRALISED for row in done.rows)
    return not neutralised and "ambiguous" not in done.notes and name not in {**UNSCANNABLE, **NOT_COMPARED}


def has_long_line(raw: bytes) -> bool:
    return any(len(line) > 998 for line in raw.splitlines())


def damaged(raw: bytes, rewritten: bytes) -> str:
    """What differs apart from links, part by part as the standard library sees them."""
    before, after = leaves(raw), leaves(rewritten)
    for one, other in zip_longest(before, after):
        if one is None or other is None:
            return "another number of parts"
        if found := damage(one, other):
            return found
    return ""


def leaves(raw: bytes) -> list[str]:
    return [content(part) for part in email.message_from_bytes(raw).walk() if not part.is_multipart()]


def content(part: Message) -> str:
    decoded = part.get_payload(decode=True)
    raw = decoded if isinstance(decoded, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")
    if raw.startswith(b"BEGIN:VCALENDAR"):
        raw = re.sub(rb"\r?\n[ \t]", b"", raw)  # folded anew where a link stands in the line
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        return raw.decode("latin-1").rstrip("\r\n")

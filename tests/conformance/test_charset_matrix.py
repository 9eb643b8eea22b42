"""480 messages in 12 charsets, labels right, missing or wrong, in four transfer encodings.

Invariants: every URL that our rules cover is sealed, whatever the label says; read in the true charset, nothing else differs;
restoring gives the bytes back.
"""

from __future__ import annotations

import base64
import email
import json
import re
from pathlib import Path

from rewriter.headers import remove_fields
from rewriter.message import rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome
from rewriter.restore import restore_message
from tests.reversible import damage, open_link, open_restore, protect, seal_restore
from toc.url import parse

CODECS = {"iso-2022-jp": "iso2022_jp_ext"}


def rows(corpus: Path) -> list[dict]:
    with (corpus / "charset_matrix" / "cases.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def covered(url: str) -> bool:
    """Bare domains without a path are no links by our rules (`bare = path`)."""
    return re.match(r"(?i)https?://|www\.", url) is not None


def text_of(raw: bytes, charset: str) -> str:
    payload = email.message_from_bytes(raw).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode(CODECS.get(charset, charset), "surrogateescape" if charset == "utf-8" else "replace")


def test_every_row(corpus: Path) -> None:
    failures = []
    cases = rows(corpus)
    for row in cases:
        raw = base64.b64decode(row["message_b64"])
        done = rewrite_message(raw, protect, Options(), seal_restore)
        sealed = {item.url for item in done.rows if item.outcome is Outcome.REWRITTEN}
        wanted = {parse(url if "://" in url else f"http://{url}").href for url in row["expected"] if covered(url)}
        if not wanted <= sealed:
            failures.append(f"{row['id']} {row['group']}: {wanted - sealed}")
        plain = remove_fields(done.message, {"toc-restore"})
        if found := damage(text_of(raw, row["charset"]), text_of(plain, row["charset"])):
            failures.append(f"{row['id']} {row['group']}: {found}")
        if restore_message(done.message, open_link, open_restore) != raw:
            failures.append(f"{row['id']} {row['group']}: not restored")
    assert len(cases) == 480
    assert not failures, "\n".join(failures)

"""The way back with real keys and a real store.

Invariants: an untouched rewritten mail becomes its original by the keyset alone, wherever its targets are kept; of a reply or
forward every link becomes its target, stored ones too; a target that is not at hand leaves its link, and is said; where the
store does not answer nothing is handed back.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rewriter.api import Envelope
from toc import keys, startup
from toc.errors import StoreError, StoreNeeded
from toc.rewriting import Rewriting
from toc.store import engine

LONG = "https://shop.example/" + "segment/" * 50 + "?q=x"
SHORT = "https://t.example/a"
NOW = datetime.now(UTC)


def mail(kind: str, body: bytes, encoding: str = "8bit") -> bytes:
    if encoding == "base64":
        body = base64.encodebytes(body)
    return f"Subject: x\nContent-Type: {kind}\nContent-Transfer-Encoding: {encoding}\n\n".encode() + body


MAILS = [
    (mail("text/plain", f"see {LONG} now\n".encode()), "too long for a link in text"),
    (mail("text/html", f'<a href="{LONG}">x</a> <a href="{SHORT}">y</a>'.encode()), "stored and inline"),
    (mail("text/html", f'<a href="{LONG}">x</a> <a href="{SHORT}">y</a>'.encode(), "base64"), "inside base64"),
    (mail("text/plain", f"see {SHORT} now\nand {SHORT}b\n".encode()), "short links in text"),
]


def installation(folder: Path, database: str, keyset: keys.Keyset | None = None) -> Rewriting:
    folder.mkdir()
    made = keyset or keys.create("d", "t", ("https://l.example",), random=os.urandom, now=NOW - timedelta(days=1))
    keys.save(folder / "keyset.json", made)
    (folder / "toc.toml").write_text(
        f'[service]\npublic_url = "https://l.example"\ndatabase = "{database}"\n'
        '[link]\ntext = "short"\nmax_link = 500\n[rewriter]\njudge = false\n'
    )
    loaded = startup.read(folder / "toc.toml", {})
    engine.upgrade(loaded.config.database)
    return Rewriting(loaded)


@pytest.fixture
def here(tmp_path: Path, database: str) -> Iterator[Rewriting]:
    with closing(installation(tmp_path / "here", database)) as rewriting:
        yield rewriting


@pytest.fixture
def elsewhere(tmp_path: Path, here: Rewriting) -> Iterator[Rewriting]:
    """The same keyset and nothing else."""
    keyset = keys.load(tmp_path / "here" / "keyset.json")
    with closing(installation(tmp_path / "elsewhere", f"sqlite:///{tmp_path}/empty.db", keyset)) as rewriting:
        yield rewriting


def rewritten(here: Rewriting, raw: bytes) -> bytes:
    done = here.rewrite_message(raw, Envelope()).outcome
    links = [row.link.rpartition("/")[2] for row in done.receipt if row.link]
    assert any(link.startswith("2") for link in links), "or the case shows nothing"
    return done.body


@pytest.mark.parametrize(("raw", "why"), MAILS, ids=[why for _, why in MAILS])
def test_an_untouched_mail_comes_back_by_the_keyset_alone(
    here: Rewriting, elsewhere: Rewriting, raw: bytes, why: str
) -> None:
    new = rewritten(here, raw)
    for place in (here, elsewhere):
        outcome = place.restore_message(new).outcome
        assert (outcome.body, outcome.complete) == (raw, True)


@pytest.mark.parametrize(("raw", "why"), MAILS, ids=[why for _, why in MAILS])
def test_in_a_reply_stored_links_become_their_targets(here: Rewriting, raw: bytes, why: str) -> None:
    reply = rewritten(here, raw).replace(b"Subject: x", b"Subject: Re: x") + b"\nthank you\n"
    outcome = here.restore_message(reply).outcome
    assert b"l.example" not in outcome.body
    assert outcome.complete


def test_a_target_that_is_not_at_hand_leaves_its_link_and_is_said(here: Rewriting, elsewhere: Rewriting) -> None:
    raw = MAILS[1][0]
    reply = rewritten(here, raw) + b"\nthank you\n"
    outcome = elsewhere.restore_message(reply).outcome
    assert outcome.body.count(b"https://l.example/u/") == 1
    assert SHORT.encode() in outcome.body
    assert (outcome.complete, outcome.notes) == (False, (StoreNeeded.reason,))


def test_a_body_is_restored_with_the_store(here: Rewriting) -> None:
    done = here.rewrite_body(f"see {LONG} now".encode(), "text/plain", Envelope()).outcome
    assert here.restore_body(done.body, "text/plain").outcome.body == f"see {LONG} now".encode()


def test_where_the_store_does_not_answer_the_mail_waits(tmp_path: Path) -> None:
    here = installation(tmp_path / "here", f"sqlite:///{tmp_path}/toc.db")
    reply = rewritten(here, MAILS[1][0]) + b"\nthank you\n"
    here.close()
    (tmp_path / "toc.db").unlink()
    with closing(Rewriting(startup.read(tmp_path / "here" / "toc.toml", {}))) as again, pytest.raises(StoreError):
        again.restore_message(reply)

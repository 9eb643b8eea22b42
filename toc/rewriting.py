"""One mail, rewritten or restored, in a process of the pool: the rewriter with its `Protect`, and the record of it.

Knows how the parts fit together. Holds the process's own `Knowledge`; the event loop of the management process never
waits for a mail.
"""

from __future__ import annotations

import multiprocessing
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rewriter import headers
from rewriter.api import Envelope, Outcome, ReceiptRow
from rewriter.message import Rewritten, rewrite_body, rewrite_message
from rewriter.options import Bare, OnUnscannable, Options
from rewriter.receipt import Row
from rewriter.restore import restore_body, restore_message
from toc.config import Config
from toc.errors import BadLink, BadUrl, ConfigError, StoreNeeded
from toc.keys import Keyset
from toc.knowledge import Knowledge, utc_now
from toc.memory import keep_freed
from toc.policy import Mail, exemptions, mail_rules
from toc.protect import Message, Tools, build, own_path
from toc.records import LinkRow, MessageRecord
from toc.startup import Startup
from toc.store.stored import StoredLinks, open_store
from toc.supervisor import die_with_parent, show_as
from toc.token import (
    NO_REF,
    Direction,
    message_ref,
    normal_address,
    open_blob,
    open_path,
    recipient_ref,
    seal_blob,
)
from toc.url import parse
from toc.verdict import Level

RESTORE = "restore"
"""Purpose of the seal around a Toc-Restore field."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a pool process hands back: the answer, and what is to be recorded of it."""

    outcome: Outcome
    record: MessageRecord | None = None


class Rewriting:
    """The rewriter as one process holds it."""

    def __init__(self, startup: Startup, clock: Callable[[], datetime] = utc_now) -> None:
        self._config = startup.config
        self._clock = clock
        self._knowledge = Knowledge(startup)
        self._store: StoredLinks = open_store(startup.config.database, clock)
        self._roots = trust_roots(startup.config)
        self._looked = 0.0

    def rewrite_message(self, raw: bytes, envelope: Envelope) -> Work:
        """An outbound mail is restored; any other one is rewritten by the rules."""
        if envelope.direction is Direction.OUTBOUND:
            return self.restore_message(raw)
        keyset = self._refreshed()
        ref = message_ref(raw, keyset)
        options = self._options(envelope)
        protect = build(self._message(envelope, ref, keyset), self._tools(keyset))
        links = _Links(keyset, self._store.find)
        done = rewrite_message(raw, protect, options, lambda data: seal_blob(data, RESTORE, keyset), links.field)
        facts = headers.facts(raw)
        record = self._record(done, envelope, keyset, ref, len(raw), facts)
        return Work(_outcome(done, ref), record)

    def rewrite_body(self, body: bytes, content_type: str, envelope: Envelope) -> Work:
        keyset = self._refreshed()
        ref = message_ref(envelope.message_id.encode() or body, keyset)
        protect = build(self._message(envelope, ref, keyset), self._tools(keyset))
        done = rewrite_body(body, content_type, protect, self._options(envelope))
        facts = headers.Facts(envelope.message_id, envelope.sender, "", (), "", b"", "")
        return Work(_outcome(done, ref), self._record(done, envelope, keyset, ref, len(body), facts))

    def restore_message(self, raw: bytes) -> Work:
        """Our links become their targets. What did not open stays as it is. Raises StoreError: a target is not at hand now."""
        links = _Links(self._refreshed(), self._store.find)
        restored = restore_message(raw, links.target, links.field)
        return _restored(raw, restored, links)

    def restore_body(self, body: bytes, content_type: str) -> Work:
        links = _Links(self._refreshed(), self._store.find)
        return _restored(body, restore_body(body, content_type, links.target), links)

    def close(self) -> None:
        self._store.close()

    def _refreshed(self) -> Keyset:
        now = time.monotonic()
        if now - self._looked > 0.25:
            self._looked = now
            self._knowledge.refresh(now)
        return self._knowledge.keyset_file.current

    def _message(self, envelope: Envelope, ref: bytes, keyset: Keyset) -> Message:
        """One recipient: its links bear it. Several: the links are shared, and all are recorded as holders."""
        single = envelope.recipients[0] if len(envelope.recipients) == 1 else None
        return Message(mail_of(envelope), ref, recipient_ref(single, keyset) if single else NO_REF)

    def _tools(self, keyset: Keyset) -> Tools:
        now = self._clock()
        knowledge = self._knowledge
        judge = (lambda url, other: knowledge.local(url, now, other=other)) if self._config.rewriter.judge else None
        return Tools(keyset, knowledge.policy, self._config.link, now, judge, self._store.keep, knowledge.is_shared)

    def _options(self, envelope: Envelope) -> Options:
        settings = self._config.rewriter
        keep_pgp, keep_patches = exemptions(mail_rules(self._knowledge.policy, mail_of(envelope)))
        return Options(
            bare=Bare(settings.bare),
            on_unscannable=OnUnscannable(settings.on_unscannable),
            keep_pgp=keep_pgp,
            keep_patches=keep_patches,
            trust_roots=self._roots,
            now=self._clock(),
            max_message=settings.max_message,
            max_parts=settings.max_parts,
            max_depth=settings.max_depth,
        )

    def _record(
        self, done: Rewritten, envelope: Envelope, keyset: Keyset, ref: bytes, size: int, facts: headers.Facts
    ) -> MessageRecord:
        sender = envelope.sender or facts.sender
        people = {normal_address(address): recipient_ref(address, keyset) for address in envelope.recipients}
        recipients = tuple(people.values())
        sender_ref = recipient_ref(sender, keyset) if sender else None
        if sender_ref is not None:
            people[normal_address(sender)] = sender_ref
        worst = worst_level(done.rows)
        return MessageRecord(
            ref=ref,
            time=self._clock(),
            message_id=facts.message_id[:998],
            sender_ref=sender_ref,
            subject=facts.subject[:2000],
            direction=int(envelope.direction),
            size=size,
            complete=done.complete,
            worst_level=None if worst is None else int(Level.of(worst)),
            recipients=recipients,
            people={} if self._config.clicks.pseudonymous else people,
            links=tuple(_link_row(row) for row in done.rows),
        )


def mail_of(envelope: Envelope) -> Mail:
    return Mail(envelope.direction, envelope.sender, envelope.recipients, envelope.client, envelope.authenticated)


class _Links:
    """What links and fields of ours say, for one mail on its way back. left: the store does not know the target of some link."""

    def __init__(self, keyset: Keyset, find: Callable[[bytes], bytes | None]) -> None:
        self._keyset = keyset
        self._find = find
        self.left = False

    def target(self, url: str) -> str | None:
        """The target of a link of ours, None for anything else. Raises StoreError."""
        try:
            rest = own_path(parse(url), self._keyset)
            return None if rest is None else open_path(rest, self._keyset, self._stored)[0].target
        except (BadUrl, BadLink):
            return None

    def _stored(self, link_id: bytes) -> bytes | None:
        found = self._find(link_id)
        self.left = self.left or found is None
        return found

    def field(self, text: str) -> bytes | None:
        """What a Toc-Restore field holds."""
        try:
            return open_blob(text, RESTORE, self._keyset)
        except BadLink:
            return None


def worst_level(rows: Sequence[Row]) -> str | None:
    levels = [Level.of(row.level) for row in rows if row.level]
    return max(levels).code if levels else None


def trust_roots(config: Config) -> tuple[bytes, ...]:
    """The certificates of `[rewriter] trust_roots`, DER. Raises ConfigError."""
    if not config.rewriter.trust_roots:
        return ()
    path = config.path(config.rewriter.trust_roots)
    try:
        return tuple(_certificates(path))
    except (OSError, ValueError) as error:
        raise ConfigError(f"[rewriter] trust_roots {path}: {error}") from None


def _certificates(path: Path) -> list[bytes]:
    end = "-----END CERTIFICATE-----"
    blocks = path.read_text("ascii").split(end)[:-1]
    begin = "-----BEGIN CERTIFICATE-----"
    return [ssl.PEM_cert_to_DER_cert(block[block.index(begin) :] + end) for block in blocks]


def _restored(raw: bytes, restored: bytes, links: _Links) -> Work:
    notes = (StoreNeeded.reason,) if links.left else ()
    return Work(Outcome(restored, restored != raw, complete=not links.left, notes=notes))


def _outcome(done: Rewritten, ref: bytes) -> Outcome:
    return Outcome(
        body=done.message,
        changed=done.changed,
        complete=done.complete,
        receipt=tuple(map(_receipt_row, done.rows)),
        notes=done.notes,
        unprotected=done.unprotected,
        worst_level=worst_level(done.rows),
        disposition=done.disposition.value if done.disposition else None,
        reference=ref.hex(),
    )


def _receipt_row(row: Row) -> ReceiptRow:
    return ReceiptRow(
        part=row.part,
        kind=row.kind.value,
        url=row.url,
        outcome=row.outcome.value,
        reason=row.reason,
        text=row.text or None,
        link=row.link,
        level=row.level,
    )


def _link_row(row: Row) -> LinkRow:
    return LinkRow(
        part=row.part,
        kind=row.kind.value,
        url=row.url,
        spelling=row.text,
        outcome=row.outcome.value,
        reason=row.reason,
        link=row.link,
        level=None if row.level is None else int(Level.of(row.level)),
    )


_here: Rewriting | None = None


def begin(startup: Startup) -> None:
    """Called once in each pool process."""
    global _here
    die_with_parent()  # killed, it cannot tell us, and its queue would be waited on for ever
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)  # it went before we asked
    show_as("rewriter")
    os.nice(5)  # a click never waits for a mail
    keep_freed()
    _here = Rewriting(startup)


def run(verb: str, raw: bytes, content_type: str, envelope: Envelope) -> Work:
    """One piece of work in a pool process."""
    assert _here is not None, "begin() comes first"
    if verb == "rewrite":
        return _here.rewrite_message(raw, envelope)
    if verb == "restore":
        return _here.restore_message(raw)
    return _here.rewrite_body(raw, content_type, envelope)

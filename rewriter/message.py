"""A message in, a message and its receipt out. Pure; knows under which readings a message must be safe, and what it then says.

    raw ─▶ for each reading: parts (`rewriter.walk`) ─▶ changes ─▶ one splice ─▶ Toc-Restore where links alone don't lead back

Clients differ about broken mail. Each reading that one could take is rewritten in turn, on top of the readings before; a
message that does not come to rest that way is unscannable. Ordinary mail has one reading, and is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rewriter.edit import Edit, apply
from rewriter.headers import body_start, field_edit, remove_fields
from rewriter.inverse import OUR_FIELDS, RESTORE_FIELD, record
from rewriter.options import OnUnscannable, Options
from rewriter.readings import Reading, View, next_reading
from rewriter.receipt import Outcome, Row
from rewriter.restore import OpenField, leads_back
from rewriter.transfer import Change
from rewriter.unlink import needs_store, unlinked
from rewriter.walk import Ask, Job, walk
from toc.link import Fate, Keep, Link, Protect

MAX_RESTORE = 60_000
"""Characters of a Toc-Restore field. Postfix takes 102,400 for a whole header (header_size_limit), others 64 KiB."""

MAX_ALONE = 8000
"""Bytes of replaced URLs up to which a Toc-Restore field holds them all, which is quicker than asking the links first."""

MAX_ROUNDS = 3
"""Times that all readings of a mail are gone through until they agree."""

_CHUNK = 1 << 20

_NOT_LIVE = frozenset({"own_link", "scheme", "scheme_unknown", "relative", "not_a_url", "namespace"})
"""Reasons of kept URLs that leave no live foreign link."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What became of a message or of a bare body.

    notes:       things worth telling that are no URL, codes of docs/reasons.md
    complete:    False if a part could not be read to the end
    changed:     whether `message` differs from what came
    disposition: what the operator wants done with an incomplete one, where that is not ``neutralise`` or ``pass``
    """

    message: bytes
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    complete: bool = True
    changed: bool = False
    disposition: OnUnscannable | None = None

    def count(self, outcome: Outcome) -> int:
        return sum(row.outcome is outcome for row in self.rows)

    @property
    def rewritten(self) -> int:
        return self.count(Outcome.REWRITTEN)

    @property
    def kept(self) -> int:
        return self.count(Outcome.KEPT)

    @property
    def neutralised(self) -> int:
        return self.count(Outcome.NEUTRALISED)

    @property
    def unprotected(self) -> int:
        """Live foreign links that a reader could follow without us."""
        return sum(
            (row.outcome is Outcome.NOT_COVERABLE and row.url != "")
            or (row.outcome is Outcome.KEPT and row.reason not in _NOT_LIVE)
            for row in self.rows
        )


def rewrite_message(
    raw: bytes,
    protect: Protect,
    options: Options,
    seal_restore: Callable[[bytes], str] | None = None,
    open_restore: OpenField | None = None,
) -> Rewritten:
    """Rewrite a whole message (RFC 5322). Never raises, whatever the bytes.

    seal_restore: seals what a Toc-Restore field holds (`rewriter.inverse`); None: no field is added
    open_restore: opens one; None: every such field is taken for forged. One that was made for the message as it came stays
                  if nothing else changes, so that a second pass changes nothing
    """
    clean = remove_fields(raw, OUR_FIELDS)
    job = _rewritten(clean, Ask(protect, options), None)
    if not job.changes and open_restore is not None and clean is not raw and leads_back(raw, clean, open_restore):
        return _result(job, raw, remove_fields(raw, OUR_FIELDS - {RESTORE_FIELD.lower()}))
    edits = [change.edit for change in job.changes]
    message = _spliced(clean, edits)
    if not job.changes or seal_restore is None:
        return _result(job, raw, message)
    value = _restore_value(clean, message, job, seal_restore)
    if value is not None:
        field = field_edit(clean, RESTORE_FIELD, value)
        if field.start <= edits[0].start:
            del message  # before the next one is made: a mail may be large
            message = _spliced(clean, [field, *edits])
        else:  # it goes below a first line that begins with a blank and holds a link
            message = _spliced(message, [field_edit(message, RESTORE_FIELD, value)])
    return _result(job, raw, message)


def rewrite_body(body: bytes, content_type: str, protect: Protect, options: Options) -> Rewritten:
    """Rewrite one bare body with the value of its Content-Type field; its bytes are not transfer-encoded."""
    job = _rewritten(body, Ask(protect, options), content_type)
    return _result(job, body, apply(body, [change.edit for change in job.changes]))


def _result(job: Job, raw: bytes, message: bytes) -> Rewritten:
    choice = job.ask.options.on_unscannable
    asks = not job.complete and choice in (OnUnscannable.HOLD, OnUnscannable.TEMPFAIL)
    return Rewritten(
        message=message,
        rows=tuple(job.rows),
        notes=tuple(dict.fromkeys(job.notes)),
        complete=job.complete,
        changed=message != raw,
        disposition=choice if asks else None,
    )


def _restore_value(clean: bytes, message: bytes, job: Job, seal_restore: Callable[[bytes], str]) -> bytes | None:
    """The value of a Toc-Restore field; None if putting the targets back gives `clean` without one."""
    given = None
    if not _spelt_otherwise(job.rows) or sum(change.edit.end - change.edit.start for change in job.changes) > MAX_ALONE:
        rewritten = [row for row in job.rows if row.link and row.outcome is Outcome.REWRITTEN]
        targets = {row.link: row.url for row in rewritten if row.link and not needs_store(row.link)}
        targets |= {row.link: "" for row in job.rows if row.link and row.outcome is Outcome.KEPT}
        given = unlinked(message, targets.get)
        if _gives(message, [change.edit for change in given], clean):
            return None
    sealed = seal_restore(record(clean, message, job.changes, given))
    if len(sealed) > MAX_RESTORE:
        job.notes.append("restore_omitted")
        return None
    return sealed.encode("ascii")


def _spliced(source: bytes, edits: Sequence[Edit[bytes]]) -> bytes:
    """`apply` without a copy of what stands between the edits: a message may have 100 MB, nearly all of them attachments."""
    view = memoryview(source)
    pieces: list[bytes | memoryview] = []
    place = 0
    for edit in edits:
        pieces += (view[place : edit.start], edit.new)
        place = edit.end
    return b"".join([*pieces, view[place:]])


def _gives(source: bytes, edits: Sequence[Edit[bytes]], wanted: bytes) -> bool:
    """Whether ``apply(source, edits) == wanted``, without making it."""
    place = at = 0
    for edit in [*edits, Edit(len(source), len(source), b"")]:
        while place < edit.start:
            end = min(edit.start, place + _CHUNK)
            if source[place:end] != wanted[at : at + end - place]:
                return False
            at += end - place
            place = end
        if not wanted.startswith(edit.new, at):
            return False
        at += len(edit.new)
        place = edit.end
    return at == len(wanted)


def _spelt_otherwise(rows: Sequence[Row]) -> bool:
    """Whether a target is not spelt as the mail spelt it, so that the links alone cannot lead back."""
    return any(row.text for row in rows if row.outcome is Outcome.REWRITTEN)


def _rewritten(raw: bytes, ask: Ask, content_type: str | None) -> Job:
    """Every reading of `raw` rewritten; the job's changes are those of `raw`."""
    job = walk(raw, ask, View(), content_type)
    if not job.view.seen:
        return job
    message = apply(raw, [change.edit for change in job.changes])
    message, more = _other_readings(message, job, content_type)
    if more:
        job.changes = [Change(edit) for edit in difference(raw, message)]
    return job


def _other_readings(message: bytes, job: Job, content_type: str | None) -> tuple[bytes, bool]:
    """The message after all its other readings, and whether one of them changed it. Rows and notes go to `job`."""
    seen = set(job.view.seen)
    done: set[Reading] = {frozenset()}
    changed = False
    while (chosen := next_reading(seen, done)) is not None:
        done.add(chosen)
        found = walk(message, _keeping_own(job), View(chosen), content_type)
        seen |= found.view.seen
        job.take(found)
        if found.changes:
            message = apply(message, [change.edit for change in found.changes])
            changed = True
    if changed:
        job.notes.append("ambiguous")
        message = _settled(message, job, done, content_type)
    return message, changed


def _settled(message: bytes, job: Job, done: set[Reading], content_type: str | None) -> bytes:
    """The message after each reading has seen what the others made of it: a piece of a link of ours may lead away in one."""
    for _ in range(MAX_ROUNDS):
        agree = True
        for chosen in sorted(done, key=sorted):
            found = walk(message, _keeping_own(job), View(chosen), content_type)
            if found.changes:
                agree = False
                job.take(found)
                message = apply(message, [change.edit for change in found.changes])
        if agree:
            return message
    return _unsettled(message, job, done, content_type)


def _unsettled(message: bytes, job: Job, done: set[Reading], content_type: str | None) -> bytes:
    """Readings that never agree: nothing of the message is trusted, in any of them."""
    for chosen in sorted(done, key=sorted):
        found = walk(message, Ask(job.ask.protect, job.ask.options, trust=False), View(chosen), content_type)
        job.take(found)
        message = apply(message, [change.edit for change in found.changes])
    return message


def _keeping_own(job: Job) -> Ask:
    """The same question for the next reading; what was sealed in the one before stays."""
    made = {row.link for row in job.rows if row.link}
    protect = job.ask.protect

    def keeping(link: Link) -> Fate:
        if link.url in made:
            return Keep("own_link")
        return protect(link)

    return Ask(keeping, job.ask.options)


def difference(old: bytes, new: bytes) -> list[Edit[bytes]]:
    """Edits from `old` to `new`: one of the header and one of the body at most, each as short as can be."""
    _, old_start = body_start(old)
    _, new_start = body_start(new)
    spans: Sequence[tuple[int, bytes, bytes]] = (
        (0, old[:old_start], new[:new_start]),
        (old_start, old[old_start:], new[new_start:]),
    )
    found = []
    for place, before, after in spans:
        if before != after:
            head = _common(before, after)
            tail = _common(before[head:][::-1], after[head:][::-1])
            found.append(Edit(place + head, place + len(before) - tail, after[head : len(after) - tail]))
    return found


def _common(one: bytes, other: bytes) -> int:
    """Length of the longest common beginning, by halving."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low

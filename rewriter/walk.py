"""One message under one reading: each part to its rewriter, each result to changes of the message. Pure.

    part ─▶ transfer ─▶ charset ─▶ HTML, text or calendar ─▶ edits ─▶ charset ─▶ transfer ─▶ changes

Never an exception, never silently raw: what cannot be read to the end is unscannable, and treated as the operator chose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rewriter import charset, mime, transfer
from rewriter.bodies import BodyKind, body_kind, list_urls, rewrite_text_of
from rewriter.content_type import ContentType, content_type
from rewriter.edit import Edit, apply
from rewriter.headers import line_ending
from rewriter.mime import Group, Part
from rewriter.neutral import broken, merged, words
from rewriter.options import OnUnscannable, Options
from rewriter.readings import View
from rewriter.receipt import Outcome, Row
from rewriter.signed import canonical, open_envelope, rewrap, signature_kind, text_exemption, verifies
from rewriter.transfer import Change
from rewriter.unlink import MAX_NESTED, OWN_PATH, is_encoded_entity
from toc.link import Keep, Kind, Link, Protect

UNSCANNABLE = "unscannable"
MAX_SIGNATURES = 10
"""Signatures of one message that are verified: each costs a hash of what it covers."""

_MAY_BE_OWN = re.compile(OWN_PATH)


@dataclass(frozen=True, slots=True)
class Ask:
    """What the rewriter was asked to do. trust: False makes every part unscannable."""

    protect: Protect
    options: Options
    trust: bool = True


@dataclass(slots=True)
class Job:
    """One message under one reading, on its way."""

    raw: bytes
    ask: Ask
    view: View
    nested: int = 0
    changes: list[Change] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = True
    kept: list[tuple[int, int, str]] = field(default_factory=list)
    signatures: int = 0

    def keep_reason(self, part: Part) -> str | None:
        return next((reason for start, end, reason in self.kept if start <= part.start and part.end <= end), None)

    def take(self, other: Job) -> None:
        """Rows and notes of another reading; a URL that this one has already is not told twice."""
        told = {(row.kind, row.url, row.outcome, row.reason) for row in self.rows}
        own = {row.link for row in self.rows if row.link}
        self.rows += [
            row for row in other.rows if row.url not in own and (row.kind, row.url, row.outcome, row.reason) not in told
        ]
        self.notes += other.notes
        self.complete &= other.complete


def walk(raw: bytes, ask: Ask, view: View, content_type_value: str | None = None) -> Job:
    """A whole message, or a bare body with the value of its Content-Type field."""
    top = None if content_type_value is None else content_type(content_type_value, view=view)
    return _walk(Job(raw, ask, view), "1", top)


def _walk(job: Job, path: str, top: ContentType | None) -> Job:
    options = job.ask.options
    too_long = len(job.raw) > options.max_message or not job.ask.trust
    limits = mime.Limits(0 if too_long else options.max_parts, options.max_depth)
    for item in mime.parts(job.raw, limits, path, job.view, top):
        if isinstance(item, Group):
            _group(job, item)
        else:
            _part(job, item)
    return job


def _group(job: Job, group: Group) -> None:
    """Which parts of a signed multipart are kept: the signed one if its signature verifies, never one more."""
    kind = signature_kind(group.type)
    if group.type.kind == "multipart/encrypted":
        job.notes.append("encrypted")
    if kind == "pgp" and job.ask.options.keep_pgp:
        job.kept.append((group.start, group.end, "pgp_signed"))
    elif kind == "smime" and len(group.children) == 2 and _smime_holds(job, group):
        job.kept.append((*group.children[0], "signed"))
    elif kind is not None:
        job.notes.append("signature_unverified")


def _smime_holds(job: Job, group: Group) -> bool:
    (first, last), (start, end) = group.children
    part = next(mime.parts(job.raw[start:end], mime.Limits(2, 2)))
    if isinstance(part, Group):
        return False
    body = transfer.decode(job.raw[start + part.start : start + part.end], part.encoding).content
    return _holds(job, canonical(job.raw[first:last]), body)


def _holds(job: Job, content: bytes, signature: bytes) -> bool:
    options = job.ask.options
    job.signatures += 1
    if not options.trust_roots or options.now is None or job.signatures > MAX_SIGNATURES:
        return False
    return verifies(content, signature, options.trust_roots, options.now)


def _part(job: Job, part: Part) -> None:
    """One leaf. A surprise in it is caught here: the part is unscannable, the message goes on."""
    kind: BodyKind | None = None
    rows, changes = len(job.rows), len(job.changes)
    try:
        kind = body_kind(part)
        if is_encoded_entity(part) and job.nested < MAX_NESTED:
            decoded = transfer.decode(job.raw[part.start : part.end], part.encoding, job.view)
            top = None if part.type.kind in mime.MESSAGES else part.type
            _add(job, part, decoded, _inside(job, part, decoded.content, top))
        elif kind is None:
            return
        elif part.over or kind == "pieces":
            _unscannable(job, part)
        elif kind == "smime":
            _envelope(job, part)
        else:
            _leaf(job, part, kind)
    except Exception:
        del job.rows[rows:], job.changes[changes:]  # they tell of edits that were not made
        _unscannable(job, part)


def _inside(job: Job, part: Part, content: bytes, top: ContentType | None = None, keep: str = "") -> list[Edit[bytes]]:
    """The edits of an entity that stands encoded in this part."""
    ask = replace(job.ask, trust=job.ask.trust and not part.over)
    if keep:
        ask = replace(ask, protect=_keeping(keep))
    inner = _walk(Job(content, ask, job.view, job.nested + 1), f"{part.path}.1", top)
    job.rows += inner.rows
    job.notes += inner.notes
    job.complete &= inner.complete
    return [] if keep else [change.edit for change in inner.changes]


def _envelope(job: Job, part: Part) -> None:
    """S/MIME in one part (RFC 8551, 3.5): what is signed inside is rewritten unless the signature verifies."""
    decoded = transfer.decode(job.raw[part.start : part.end], part.encoding, job.view)
    envelope = open_envelope(decoded.content)
    if envelope.kind == "encrypted":
        job.notes.append("encrypted")
        return
    if not is_entity(envelope.content) or job.nested >= MAX_NESTED:
        return  # a signed file, which no mail client shows as a mail
    if envelope.kind == "signed" and _holds(job, envelope.content, decoded.content):
        _inside(job, part, envelope.content, keep="signed")
        return
    if envelope.kind == "signed":
        job.notes.append("signature_unverified")
    edits = _inside(job, part, envelope.content)
    if edits:
        new = rewrap(envelope, apply(envelope.content, edits))
        _add(job, part, decoded, [Edit(0, len(decoded.content), new)])


def is_entity(content: bytes) -> bool:
    """Whether `content` begins as a MIME entity does."""
    return content[:8].lower() == b"content-" or content[:13].lower() == b"mime-version:"


def _leaf(job: Job, part: Part, kind: BodyKind) -> None:
    decoded = transfer.decode(job.raw[part.start : part.end], part.encoding, job.view)
    html = kind == "html" or part.type.kind == "text/html"
    if kind == "opaque" and not html:
        job.rows += list_urls(decoded.content, part.path)
        return
    text = charset.decode(decoded.content, part.type.parameters.get("charset", ""), html=html, view=job.view)
    job.notes += text.notes
    reason = "not_coverable" if kind == "opaque" else job.keep_reason(part)
    if reason is None and kind == "text":
        reason = text_exemption(text.text, job.ask.options)
    protect = _keeping(reason) if reason else job.ask.protect
    result = rewrite_text_of("html" if html else kind, text, part, protect, job.ask.options)
    if reason:
        job.rows += [_untouched(row, reason) for row in result.rows]
    else:
        job.rows += result.rows
        job.notes += result.notes
        edits = charset.byte_edits(text, result.edits)
        _add(job, part, decoded, edits if result.sound else _doubtful(job, part, decoded.content, edits))


def _doubtful(job: Job, part: Part, content: bytes, edits: Sequence[Edit[bytes]]) -> list[Edit[bytes]]:
    """Edits of a part that could not be proven free of foreign links: what was found is sealed, what may be left broken."""
    job.complete = False
    job.notes.append(UNSCANNABLE)
    job.rows.append(Row(part.path, Kind.ATTACHMENT, "", Outcome.NOT_COVERABLE, UNSCANNABLE))
    if job.ask.options.on_unscannable is not OnUnscannable.NEUTRALISE:
        return list(edits)
    own = {row.link.encode("ascii") for row in job.rows if row.link and row.outcome is Outcome.KEPT}
    return merged(edits, broken(content, own))


def _keeping(reason: str) -> Protect:
    def protect(_link: Link) -> Keep:
        return Keep(reason)

    return protect


def _untouched(row: Row, reason: str) -> Row:
    """The row of a URL in a part of which nothing is changed."""
    if reason == "not_coverable":
        return row._replace(outcome=Outcome.NOT_COVERABLE, reason=reason, link=None)
    return row if row.outcome is Outcome.KEPT else row._replace(outcome=Outcome.KEPT, reason=reason, link=None)


def _add(job: Job, part: Part, decoded: transfer.Decoded, edits: Sequence[Edit[bytes]]) -> None:
    """Take edits of the decoded part into those of the message; re-encode where a line would get too long."""
    if not edits:
        return
    has_field = part.head != (0, 0) or part.fields
    if decoded.encoding == "7bit" and has_field and not transfer.has_long_line(decoded.raw):
        content = apply(decoded.content, edits)
        if transfer.has_long_line(content):
            job.changes += _as_quoted_printable(job, part, content)
            return
    job.changes += transfer.changes(part.start, decoded, edits)


def _as_quoted_printable(job: Job, part: Part, content: bytes) -> list[Change]:
    """The body in quoted-printable, and the field that says so."""
    ending = line_ending(job.raw)
    new = b"Content-Transfer-Encoding: quoted-printable" + ending
    old = [item for item in part.fields if item.name == "content-transfer-encoding"]
    behind = next((item.end for item in part.fields if item.name == "content-type"), part.head[1])
    fields = [Edit(item.start, item.end, b"") for item in old] or [Edit(behind, behind, b"")]
    fields[0] = fields[0]._replace(new=new)
    return [Change(edit) for edit in (*fields, Edit(part.start, part.end, transfer.encode_qp(content, ending)))]


def _unscannable(job: Job, part: Part) -> None:
    """What could not be read to the end: its URLs are listed, and broken or left as the operator chose."""
    job.complete = False
    job.notes.append(UNSCANNABLE)
    job.rows.append(Row(part.path, Kind.ATTACHMENT, "", Outcome.NOT_COVERABLE, UNSCANNABLE))
    decoded = transfer.decode(job.raw[part.start : part.end], part.encoding, job.view)
    neutralise = job.ask.options.on_unscannable is OnUnscannable.NEUTRALISE
    fate = Outcome.NEUTRALISED if neutralise else Outcome.NOT_COVERABLE
    protect = job.ask.protect
    for row in list_urls(decoded.content, part.path):
        reason = _own(row.url, protect)
        outcome = fate if reason is None else Outcome.KEPT
        job.rows.append(row._replace(outcome=outcome, reason=reason or UNSCANNABLE))
    if neutralise:
        own = {word for word in words(decoded.content) if _own(word.decode("ascii"), protect)}
        job.changes += transfer.changes(part.start, decoded, broken(decoded.content, own))


def _own(url: str, protect: Protect) -> str | None:
    """``own_link`` or ``own_invalid`` for what leads to us, wherever it ends: another reading may have put it there."""
    fate = protect(Link(url, Kind.ATTACHMENT, url)) if _MAY_BE_OWN.search(url) else None
    return fate.reason if isinstance(fate, Keep) and fate.reason.startswith("own_") else None

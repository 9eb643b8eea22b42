"""A message in, a message and its receipt out. Pure; knows how the rewriters of the bodies and the layers around them fit.

    raw ─▶ parts ─▶ transfer ─▶ charset ─▶ HTML, text or calendar ─▶ edits ─▶ charset ─▶ transfer ─▶ edits of raw ─▶ one splice

Never an exception, never silently raw: what cannot be read to the end is unscannable, and treated as the operator chose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rewriter import charset, mime, transfer
from rewriter.bodies import body_kind, list_urls, rewrite_text_of
from rewriter.edit import Edit, apply
from rewriter.headers import add_field, line_ending, remove_fields
from rewriter.inverse import record
from rewriter.mime import Group, Part
from rewriter.neutral import broken
from rewriter.options import OnUnscannable, Options
from rewriter.receipt import Outcome, Row
from rewriter.signed import is_encrypted_leaf, signature_kind, text_exemption, verifies
from toc.link import Keep, Kind, Link, Protect

RESTORE_FIELD = "Toc-Restore"
OUR_FIELDS = frozenset({"toc-restore", "toc-result"})
MAX_NESTED = 20
"""Encoded messages inside encoded messages that are opened."""

UNSCANNABLE = "unscannable"
_NOT_LIVE = frozenset({"own_link", "scheme", "scheme_unknown", "relative", "not_a_url", "namespace"})
"""Reasons of kept URLs that leave no live foreign link."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """complete: False if a part could not be read to the end. disposition: what the operator wants then, if not `neutralise`."""

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
            row.outcome is Outcome.NOT_COVERABLE or (row.outcome is Outcome.KEPT and row.reason not in _NOT_LIVE)
            for row in self.rows
        )


@dataclass(slots=True)
class _Job:
    """One message on its way."""

    raw: bytes
    protect: Protect
    options: Options
    edits: list[Edit[bytes]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = True
    kept: list[tuple[int, int, str]] = field(default_factory=list)

    def keep_reason(self, part: Part) -> str | None:
        return next((reason for start, end, reason in self.kept if start <= part.start and part.end <= end), None)


def rewrite_message(
    raw: bytes, protect: Protect, options: Options, seal_restore: Callable[[bytes], str] | None = None
) -> Rewritten:
    """Rewrite a whole message (RFC 5322).

    seal_restore: seals the inverse edits for a Toc-Restore field; None: none is added
    """
    clean = remove_fields(raw, OUR_FIELDS)
    job = _walk(clean, protect, options)
    message = apply(clean, job.edits)
    if job.edits and seal_restore is not None:
        inverse = record(clean, message, job.edits)
        message = add_field(message, RESTORE_FIELD, seal_restore(inverse).encode("ascii"))
    return _result(job, raw, message)


def _result(job: _Job, raw: bytes, message: bytes) -> Rewritten:
    choice = job.options.on_unscannable
    asks = not job.complete and choice in (OnUnscannable.HOLD, OnUnscannable.TEMPFAIL)
    return Rewritten(
        message=message,
        rows=tuple(job.rows),
        notes=tuple(dict.fromkeys(job.notes)),
        complete=job.complete,
        changed=message != raw,
        disposition=choice if asks else None,
    )


def rewrite_body(body: bytes, content_type: str, protect: Protect, options: Options) -> Rewritten:
    """Rewrite one bare body with the value of its Content-Type field; its bytes are not transfer-encoded."""
    part = Part("1", mime.content_type(content_type), "7bit", "", 0, len(body), (0, 0), ())
    job = _Job(body, protect, options)
    _part(job, part)
    return _result(job, body, apply(body, job.edits))


def _walk(raw: bytes, protect: Protect, options: Options, path: str = "1", nested: int = 0) -> _Job:
    job = _Job(raw, protect, options)
    if len(raw) > options.max_message:
        _unscannable_bytes(job, path, 0, len(raw))
        return job
    for item in mime.parts(raw, mime.Limits(options.max_parts, options.max_depth), path):
        if isinstance(item, Group):
            _group(job, item)
        elif item.type.kind.startswith("message/") and item.encoding != "7bit" and nested < MAX_NESTED:
            _nested(job, item, nested)
        else:
            _part(job, item)
    return job


def _group(job: _Job, group: Group) -> None:
    """Whether everything below a signed or encrypted multipart is kept."""
    kind = signature_kind(group.type)
    if kind == "encrypted":
        job.kept.append((group.start, group.end, "encrypted"))
    elif kind == "pgp" and job.options.keep_pgp:
        job.kept.append((group.start, group.end, "pgp_signed"))
    elif kind == "smime":
        if len(group.children) > 1 and _smime_holds(job, group):
            job.kept.append((group.start, group.end, "signed"))
        else:
            job.notes.append("signature_unverified")


def _smime_holds(job: _Job, group: Group) -> bool:
    options = job.options
    if not options.trust_roots or options.now is None:
        return False
    first, last = group.children[0]
    start, end = group.children[1]
    signature = next(mime.parts(job.raw[start:end], mime.Limits(2, 2)))
    body = job.raw[start + signature.start : start + signature.end]
    return verifies(job.raw[first:last], body, options.trust_roots, options.now)


def _nested(job: _Job, part: Part, nested: int) -> None:
    """A message inside a transfer encoding: rewritten by itself, encoded anew."""
    decoded = transfer.decode(job.raw[part.start : part.end], part.encoding)
    inner = _walk(decoded.content, job.protect, job.options, f"{part.path}.1", nested + 1)
    job.rows += inner.rows
    job.notes += inner.notes
    job.complete &= inner.complete
    _add(job, part, decoded, inner.edits)


def _part(job: _Job, part: Part) -> None:
    """One leaf. A surprise in it is caught here: the part is unscannable, the message goes on."""
    try:
        if part.over:
            _unscannable(job, part)
        else:
            _leaf(job, part)
    except Exception:
        _unscannable(job, part)


def _leaf(job: _Job, part: Part) -> None:
    kind = body_kind(part)
    if kind is None:
        return
    decoded = transfer.decode(job.raw[part.start : part.end], part.encoding)
    if kind == "opaque":
        job.rows += list_urls(decoded.content, part.path)
        return
    text = charset.decode(decoded.content, part.type.parameters.get("charset", ""), html=kind == "html")
    job.notes += text.notes
    reason = job.keep_reason(part) or ("encrypted" if is_encrypted_leaf(part.type) else None)
    if reason is None and kind == "text":
        reason = text_exemption(text.text, job.options)
    protect = _keeping(reason) if reason else job.protect
    result = rewrite_text_of(kind, text, part, protect, job.options)
    if reason:
        job.rows += [row for row in result.rows if row.outcome is Outcome.KEPT]
        return
    if not result.sound:
        _unscannable(job, part)
        return
    job.rows += result.rows
    job.notes += result.notes
    _add(job, part, decoded, charset.byte_edits(text, result.edits))


def _keeping(reason: str) -> Protect:
    def protect(_link: Link) -> Keep:
        return Keep(reason)

    return protect


def _add(job: _Job, part: Part, decoded: transfer.Decoded, edits: Sequence[Edit[bytes]]) -> None:
    """Take edits of the decoded part into those of the message; re-encode where a line would get too long."""
    if not edits:
        return
    spliced = transfer.splice(decoded, edits)
    if decoded.encoding == "7bit" and _gets_long_lines(decoded.raw, edits):
        _to_quoted_printable(job, part, apply(decoded.content, edits))
        return
    job.edits += [Edit(part.start + edit.start, part.start + edit.end, edit.new) for edit in spliced]


def _gets_long_lines(raw: bytes, edits: Sequence[Edit[bytes]]) -> bool:
    return transfer.has_long_line(apply(raw, edits)) and not transfer.has_long_line(raw)


def _to_quoted_printable(job: _Job, part: Part, content: bytes) -> None:
    """The body in quoted-printable, and the field that says so. A bare body has no field, and keeps its long line."""
    if part.head[1] == 0 and not part.fields:
        job.edits.append(Edit(part.start, part.end, content))
        return
    ending = line_ending(job.raw)
    new = b"Content-Transfer-Encoding: quoted-printable" + ending
    old = next((item for item in part.fields if item.name == "content-transfer-encoding"), None)
    at = (old.start, old.end) if old else (part.head[0], part.head[0])
    job.edits.append(Edit(at[0], at[1], new))
    job.edits.append(Edit(part.start, part.end, transfer.encode_qp(content, ending)))


def _unscannable(job: _Job, part: Part) -> None:
    job.complete = False
    job.notes.append(UNSCANNABLE)
    job.rows.append(Row(part.path, Kind.ATTACHMENT, "", Outcome.NOT_COVERABLE, UNSCANNABLE))
    if job.options.on_unscannable is OnUnscannable.NEUTRALISE:
        decoded = transfer.decode(job.raw[part.start : part.end], part.encoding)
        edits = broken(decoded.content)
        job.edits += [
            Edit(part.start + edit.start, part.start + edit.end, edit.new) for edit in transfer.splice(decoded, edits)
        ]


def _unscannable_bytes(job: _Job, path: str, start: int, end: int) -> None:
    _unscannable(job, Part(path, mime.ContentType("text/plain", {}), "7bit", "", start, end, (0, 0), ()))

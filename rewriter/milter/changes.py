"""From two messages to the smallest set of milter packets that makes one of the other. Pure.

Knows header fields and bodies as bytes. A field that did not change is never mentioned, so its bytes stay what they
were, whatever the mail server makes of a header it is told to write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewriter.milter.protocol import add_header, change_header, insert_header, replace_body

MAX_FIELD = 60_000
"""Longest field that we add: a packet to Sendmail holds 65,535 bytes, and Postfix cuts a header off at 102,400."""

TOP = 1
"""Place of a field on top: behind the `Received` that Postfix and Sendmail add and don't show to filters."""

_FIELD_END = re.compile(rb"\r\n(?![ \t])")


@dataclass(frozen=True, slots=True)
class Field:
    """A header field. `value` is everything behind the colon, its leading space and folds (CRLF) included."""

    name: bytes
    value: bytes

    @property
    def key(self) -> bytes:
        return self.name.lower()


def build(fields: Sequence[Field], body: bytes) -> bytes:
    """The message: header block, empty line, body."""
    head = b"".join(field.name + b":" + field.value + b"\r\n" for field in fields)
    return head + b"\r\n" + body


def split(message: bytes) -> tuple[list[Field], memoryview]:
    """Header fields and body of `message`, lines ended by CRLF. A line of the header without a colon is left out."""
    if message.startswith(b"\r\n"):
        return [], memoryview(message)[2:]
    end = message.find(b"\r\n\r\n")
    head, start = (message, len(message)) if end < 0 else (message[:end], end + 4)
    fields = []
    for line in _FIELD_END.split(head):
        name, colon, value = line.partition(b":")
        if colon and name:
            fields.append(Field(name, value))
    return fields, memoryview(message)[start:]


def header_changes(old: Sequence[Field], new: Sequence[Field], *, leading_space: bool) -> Iterator[bytes]:
    """Packets that make the fields `new` of the fields `old`, name by name.

    New fields above everything else go to the top, others to the end. Removals come last and from below: they would
    move the numbers of the fields that follow.
    """
    write = _exact if leading_space else _stripped
    before, after = _by_name(old), _by_name(new)
    top = _new_at_top(new, before)
    removals: list[bytes] = []
    for key, fields in after.items():
        former = before.get(key, [])
        for index, (was, is_) in enumerate(zip(former, fields, strict=False), 1):
            if was.value != is_.value:
                yield change_header(index, was.name, write(is_))
        for field in fields[len(former) + len(top.get(key, ())) :]:
            if len(field.value) <= MAX_FIELD:
                yield add_header(field.name, write(field))
    for key, fields in before.items():
        kept = len(after.get(key, ()))
        removals += [change_header(index, fields[0].name, b"") for index in range(len(fields), kept, -1)]
    yield from removals
    for fields in reversed(top.values()):
        for field in reversed(fields):
            if len(field.value) <= MAX_FIELD:
                yield insert_header(TOP, field.name, write(field))


def body_changes(old: memoryview, new: memoryview) -> Iterator[bytes]:
    """Packets that replace the body, none where it is the same."""
    if old != new:
        yield from replace_body(new)


def _by_name(fields: Sequence[Field]) -> dict[bytes, list[Field]]:
    names: dict[bytes, list[Field]] = {}
    for field in fields:
        names.setdefault(field.key, []).append(field)
    return names


def _new_at_top(new: Sequence[Field], before: dict[bytes, list[Field]]) -> dict[bytes, list[Field]]:
    """The fields of unknown names that stand above every field that was there before."""
    top: dict[bytes, list[Field]] = {}
    for field in new:
        if field.key in before:
            return top
        top.setdefault(field.key, []).append(field)
    return top if before else {}


def _exact(field: Field) -> bytes:
    """The wire ends the lines of a folded value by LF."""
    return field.value.replace(b"\r\n", b"\n")


def _stripped(field: Field) -> bytes:
    """A mail server that does not keep leading space adds one of its own."""
    return _exact(field).removeprefix(b" ")

"""From two messages to the smallest set of milter packets that makes one of the other. Pure.

Knows header fields and bodies as bytes. A field that did not change is never mentioned, so its bytes stay what they
were, whatever the mail server makes of a header it is told to write.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import eq

from rewriter.milter.protocol import change_header, insert_header, replace_body

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
    return on_top(fields, b"\r\n" + body)


def on_top(fields: Sequence[Field], message: bytes) -> bytes:
    """`message` with more fields on top."""
    return b"".join(field.name + b":" + field.value + b"\r\n" for field in fields) + message


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
    """Packets that make the fields `new` of the fields `old`.

    Values change where they stand. Then superfluous fields go, from below, as each removal moves the numbers of those that
    follow. Last, fields that are new are inserted from above, each behind the one that stands before it in `new`. Fields of
    one name keep their order; those of different names that `new` has in another order than `old` stay where they are.
    """
    write = _exact if leading_space else _stripped
    before = _by_name(old)
    wanted = Counter(field.key for field in new)
    places = _places_of_kept(old, wanted)
    above = _inserted_above(before, _by_name(new))
    behind: dict[int, list[Field]] = {}  # place among the kept fields → new fields that follow it
    last: dict[bytes, int] = {}
    seen: Counter[bytes] = Counter()
    place = 0
    for field in new:
        number = seen[field.key] - above.get(field.key, 0)
        seen[field.key] += 1
        if (field.key, number) in places:
            place = places[field.key, number]
            was = before[field.key][number]
            if was.value != field.value:
                yield change_header(number + 1, was.name, write(field))
        elif len(field.value) <= MAX_FIELD:
            place = max(place, last.get(field.key, 0))
            if number < 0:
                place = min(place, places[field.key, 0] - 1)
            behind.setdefault(place, []).append(field)
        last[field.key] = place
    for key, fields in before.items():
        for number in range(len(fields), wanted[key], -1):
            yield change_header(number, fields[0].name, b"")
    inserted = 0
    for place in sorted(behind):
        for field in behind[place]:
            yield insert_header(TOP + place + inserted, field.name, write(field))
            inserted += 1


def _places_of_kept(old: Sequence[Field], wanted: Counter[bytes]) -> dict[tuple[bytes, int], int]:
    """Name and number of each field that stays → how many fields that stay there are up to it, itself included."""
    places: dict[tuple[bytes, int], int] = {}
    seen: Counter[bytes] = Counter()
    for field in old:
        if seen[field.key] < wanted[field.key]:
            places[field.key, seen[field.key]] = len(places) + 1
        seen[field.key] += 1
    return places


def _inserted_above(old: dict[bytes, list[Field]], new: dict[bytes, list[Field]]) -> dict[bytes, int]:
    """By name, how many new fields stand above those that were there: then these need no change."""
    above = {}
    for key, fields in new.items():
        were = old.get(key, [])
        more = len(fields) - len(were)
        if more > 0 and sum(map(eq, were, fields[more:])) > sum(map(eq, were, fields)):
            above[key] = more
    return above


def body_changes(old: memoryview, new: memoryview) -> Iterator[bytes]:
    """Packets that replace the body, none where it is the same."""
    if old != new:
        yield from replace_body(new)


def _by_name(fields: Sequence[Field]) -> dict[bytes, list[Field]]:
    names: dict[bytes, list[Field]] = {}
    for field in fields:
        names.setdefault(field.key, []).append(field)
    return names


def _exact(field: Field) -> bytes:
    """The wire ends the lines of a folded value by LF."""
    return field.value.replace(b"\r\n", b"\n")


def _stripped(field: Field) -> bytes:
    """A mail server that does not keep leading space adds one of its own."""
    return _exact(field).removeprefix(b" ")

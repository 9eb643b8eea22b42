"""Authentication-Results (RFC 8601) as the milter handles it: what was found of a mail, and claims that are not ours. Pure.

Knows the field's first word, the authserv-id. Verifies nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rewriter.milter.changes import Field, build, split

_SPACE = re.compile(rb"\s++")
_PARENTHESES = re.compile(rb"\\.|[()]", re.DOTALL)
_WORD = re.compile(rb'"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^\s;"()]+)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a mail as it came.

    field:    Authentication-Results, None where nothing was verified
    sealable: whether a seal may follow: a chain whose keys could not be asked may neither be confirmed nor broken by us
    """

    field: Field | None = None
    sealable: bool = True


def without_results(message: bytes, authserv_id: str) -> bytes:
    """`message` without the results that it claims to have from us (RFC 8601, 5); the same object where it has none."""
    fields, body = split(message)
    kept = [field for field in fields if not _claims(field, authserv_id)]
    return message if len(kept) == len(fields) else build(kept, bytes(body))


def _claims(field: Field, authserv_id: str) -> bool:
    if field.key.strip() != b"authentication-results":
        return False
    place = _behind_comments(field.value)
    found = _WORD.match(field.value, place)
    if not found:
        return False
    name = found["plain"] if found["plain"] is not None else re.sub(rb"\\(.)", rb"\1", found["quoted"], flags=re.DOTALL)
    return name.rstrip(b".").lower() == authserv_id.rstrip(".").lower().encode()


def _behind_comments(value: bytes) -> int:
    """Where the first word starts, in one pass. Comments nest, and a backslash escapes (RFC 5322, 3.2.2)."""
    place = 0
    while True:
        space = _SPACE.match(value, place)
        place = space.end() if space else place
        if value[place : place + 1] != b"(":
            return place
        depth = 0
        for found in _PARENTHESES.finditer(value, place):
            depth += {b"(": 1, b")": -1}.get(found.group(), 0)
            if depth == 0:
                place = found.end()
                break
        else:
            return len(value)  # a comment without an end: a field of nobody

"""Authentication-Results (RFC 8601) as the milter handles it: what was found of a mail, and claims that are not ours. Pure.

Knows the field's first word, the authserv-id. Verifies nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rewriter.milter.changes import Field, build, split

_COMMENT = re.compile(rb"\([^()]*\)")
_SERVER = re.compile(rb'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))')


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
    value, before = field.value, b""
    while value != before:  # comments nest
        value, before = _COMMENT.sub(b" ", value), value
    found = _SERVER.match(value)
    if not found:
        return False
    name = re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]
    return name.lower() == authserv_id.lower().encode()

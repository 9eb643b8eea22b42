"""The way back, the exit kit: our links become their targets; an untouched rewritten mail becomes its original, byte for byte.

Pure; what a link or a field opens to is handed in. An untouched mail is restored by the keyset alone; a link that was stored
needs the store only where its mail was changed, as in a reply.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

from rewriter import inverse
from rewriter.content_type import content_type
from rewriter.edit import apply
from rewriter.headers import field, remove_fields
from rewriter.inverse import OUR_FIELDS, RESTORE_FIELD
from rewriter.unlink import OpenLink, needs_store, unlinked

MAX_FIELDS = 3
"""Toc-Restore fields that are tried; a rewritten mail has one."""

_BLANKS = re.compile(rb"\s+")


OpenField = Callable[[str], bytes | None]
"""From a Toc-Restore field's value, without blanks, to what it holds; None where it is forged."""


def leads_back(raw: bytes, clean: bytes, open_restore: OpenField) -> bool:
    """Whether `raw`, which is `clean` with fields of ours, carries the one field that was made for its body."""
    values = field(raw, RESTORE_FIELD)
    packed = open_restore(_spelt(values[0])) if len(values) == 1 else None
    return packed is not None and inverse.belongs(clean, packed)


def restore_message(raw: bytes, open_link: OpenLink, open_restore: OpenField) -> bytes:
    """The original of a rewritten message. What does not open stays; fields of ours are removed, forged ones too."""
    clean = remove_fields(raw, OUR_FIELDS)
    for value in field(raw, RESTORE_FIELD)[:MAX_FIELDS]:
        packed = open_restore(_spelt(value))
        original = None if packed is None else _exact(clean, packed, open_link)
        if original is not None:
            return original
    return apply(clean, [change.edit for change in unlinked(clean, open_link)])


def _spelt(value: bytes) -> str:
    return _BLANKS.sub(b"", value).decode("ascii", "replace")


def restore_body(body: bytes, content_type_value: str, open_link: OpenLink) -> bytes:
    """The same for one bare body with the value of its Content-Type field."""
    return apply(body, [change.edit for change in unlinked(body, open_link, content_type(content_type_value))])


def _exact(clean: bytes, packed: bytes, open_link: OpenLink) -> bytes | None:
    try:
        return inverse.restore(
            clean, packed, lambda: unlinked(clean, lambda url: None if needs_store(url) else open_link(url))
        )
    except (ValueError, LookupError, zlib.error, struct.error):  # the form of another version
        return None

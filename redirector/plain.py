"""A plain request: one GET without a body, whole in one piece, that wishes nothing about its connection.

What nearly every click is. A subset of what the parser takes (RFC 9112, sections 2 to 6), with the same outcome for a
third of its time. Whatever is not surely plain is left to the parser.
"""

from __future__ import annotations

import string
from typing import NamedTuple

_TARGET = bytes(set(range(0x21, 0x7F)) - set(b"#"))
_NAME = (string.ascii_lowercase + string.digits + "!#$%&'*+-.^_`|~").encode()
_TEXT = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

_WISHES = frozenset({b"connection", b"proxy-connection"})  # the second is no standard, but the parser heeds it


class Plain(NamedTuple):
    """target: path and query, as they were sent; headers: lower-case names, of repeated ones the last."""

    target: bytes
    headers: dict[bytes, bytes]


def read(data: bytes) -> Plain | None:
    """None for anything else."""
    if not (data.startswith(b"GET /") and data.endswith(b"\r\n\r\n")):
        return None
    first, *lines = data[:-4].split(b"\r\n")
    if data.translate(None, _TEXT) != b"\r\n" * (len(lines) + 2):
        return None
    target = first[4:-9]
    if not first.endswith(b" HTTP/1.1") or target.translate(None, _TARGET):
        return None
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.lstrip(b" \t")
        if not (name and colon) or name.translate(None, _NAME):
            return None
        if name in _FRAMING or (name in _WISHES and value.lower() != b"keep-alive"):
            return None
        headers[name] = value
    return Plain(target, headers)

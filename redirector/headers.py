"""What every answer of the public listener carries, as header lines. Knows no request."""

from __future__ import annotations

SAFETY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-robots-tag", b"noindex"),
)
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
PLAIN = (*SAFETY_HEADERS, POLICY)
"""On every answer that is no page of ours; pages bring their own policy."""


def header_lines(*headers: tuple[bytes, bytes]) -> bytes:
    """As they stand in an answer. Names and values are ours: no part of a request may get into them."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])

"""The C library's heap: freed memory is kept for the next mail. Knows nothing of mails.

A parser makes a tree of megabytes for each HTML part and frees it again. glibc gives the pages back to the kernel each time,
and to fetch and clear them anew costs more than the parse: lexbor was measured to read 105 MB/s so, and 240 with this.
"""

from __future__ import annotations

import ctypes

LARGEST = 32 << 20
"""Bytes of the largest block that is taken from the heap; a larger one is given back to the kernel at once."""

KEPT = 2 * LARGEST
"""Bytes of freed memory that a process keeps at most. Both are where glibc's own rule ends after a block of that size
(mallopt(3), "dynamic mmap threshold"); here it begins there, as most mails are small."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3), M_TRIM_THRESHOLD and M_MMAP_THRESHOLD


def keep_freed() -> bool:
    """Whether the C library took it: glibc does, others have no such setting and nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, LARGEST) and mallopt(_TRIM_THRESHOLD, KEPT))

"""What must hold before a fetched list replaces the last good one. Pure; knows figures, no file and no network.

Each guard raises ListError with its own `why` in the facts; the tables in docs/feeds.md list them all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from reputation.forms import Reading
from reputation.index import Hit
from toc.errors import BadUrl, ListError
from toc.url import parse

SHRUNK = 0.5
"""A list that loses more than half of its entries at once was cut or emptied at the source."""
GROWN = 3.0
"""A list that grows threefold at once was merged with something else, or flooded."""
SMALL = 100
"""Entries. Lists below this change by whole factors in ordinary life, so the two guards above leave them alone."""
REJECTED = 0.1
"""Lines that no parser can read, as a share: above it, the file is not what the feed's row says it is."""
DUPLICATES = 0.5
CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts of the list just built, and the entries of the last good one (None where there is none)."""

    entries: int
    rejected: int
    duplicates: int
    previous: int | None


def check_figures(figures: Figures) -> None:
    """Raises ListError ``empty``, ``garbled``, ``duplicates``, ``shrunk`` or ``grown``."""
    entries, previous = figures.entries, figures.previous
    if entries == 0 and figures.rejected == 0:
        _refuse("empty", "the list holds no entry")
    if figures.rejected > REJECTED * (entries + figures.rejected):
        _refuse("garbled", f"{figures.rejected:,} of {entries + figures.rejected:,} lines are no entries")
    if figures.duplicates >= SMALL and figures.duplicates > DUPLICATES * (entries + figures.duplicates):
        _refuse("duplicates", f"{figures.duplicates:,} entries are repetitions, only {entries:,} are left")
    if previous is None or previous < SMALL:
        return
    if entries < SHRUNK * previous:
        _refuse("shrunk", f"{entries:,} entries are left of {previous:,}")
    if entries > GROWN * previous:
        _refuse("grown", f"{entries:,} entries where {previous:,} were")


def check_canaries(find: Callable[[Reading], list[Hit]], hits: Iterable[str], misses: Iterable[str]) -> None:
    """`hits` (URLs) must be found, `misses` must not. Raises ListError ``canary_missing`` or ``canary_hit``."""
    for url in hits:
        if not find(_canary(url)):
            _refuse("canary_missing", f"{url} ought to be on the list and is not")
    for url in misses:
        if found := find(_canary(url)):
            _refuse("canary_hit", f"{url} is on the list (line {found[0].line}) and must never be")


def _canary(text: str) -> Reading:
    try:
        return Reading(parse(text if "://" in text else f"http://{text}/"))
    except BadUrl:
        raise ListError(f"{text!r} in the feed's canaries is no URL", why="canary") from None


_DIGESTS = {32: hashlib.md5, 40: hashlib.sha1, 64: hashlib.sha256, 128: hashlib.sha512}
_HEX = re.compile(
    rb"(?<![0-9a-fA-F])(?:[0-9a-fA-F]{128}|[0-9a-fA-F]{64}|[0-9a-fA-F]{40}|[0-9a-fA-F]{32})(?![0-9a-fA-F])"
)


def check_checksum(chunks: Iterable[bytes], published: bytes) -> None:
    """`published`: the file that the source offers, a digest in hexadecimal and perhaps a name beside it.

    Raises ListError ``checksum_unreadable`` or ``checksum``.
    """
    found = _HEX.search(published)
    if found is None:
        raise ListError("the checksum file holds no checksum", why="checksum_unreadable")
    expected = found.group().decode().lower()
    # MD5 and SHA-1 are what some sources publish: they guard against a broken transfer, not against the source.
    digest = _DIGESTS[len(expected)](usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    if digest.hexdigest() != expected:
        _refuse("checksum", "the checksum that the source publishes is another one")


def check_date(last_modified: str, now: datetime) -> None:
    """Raises ListError ``future_date`` where the source says that its list is from tomorrow or later."""
    if not last_modified:
        return
    try:
        stated = parsedate_to_datetime(last_modified)
    except ValueError:
        return  # a header that nobody can read says nothing
    if stated.tzinfo is None:
        stated = stated.replace(tzinfo=UTC)
    if stated > now + CLOCK_SKEW:
        _refuse("future_date", f"the source dates its list {last_modified}")


def _refuse(why: str, message: str) -> None:
    raise ListError(message, why=why)

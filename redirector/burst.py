"""Whether one client opens many links of one message within seconds, as a scanner does. Pure; time is handed in.

Each worker counts for itself: a scanner that spreads its requests over N connections may need N times as many links.
"""

from __future__ import annotations

from collections import OrderedDict

from toc.token import NO_REF

LINKS = 6
SECONDS = 5.0
"""So many different links of one message within so many seconds. People who open links in tabs behind reach two or three a
second for a short while, hence `uncertain` and never `automated`; mail scanners open all links of a message at once."""

MAX_KEYS = 10_000


class Bursts:
    """One per worker. Memory: at most `MAX_KEYS` lists of `LINKS` pairs of numbers, about 8 MB."""

    def __init__(self) -> None:
        self._recent: OrderedDict[tuple[str, bytes, bytes], list[tuple[float, int]]] = OrderedDict()

    def add(self, network: str, message: bytes, recipient: bytes, target: str, now: float) -> bool:
        """Take in a click; True where it belongs to a burst.

        network:   of the client, as `rate.network_of` names it: scanners share few networks among many addresses
        recipient: part of the key, as the readers of one office may open one newsletter at the same time
        now:       seconds
        """
        if message == NO_REF:
            return False
        key = network, message, recipient
        link = hash(target)
        before = self._recent.pop(key, None)
        recent = [(when, which) for when, which in before if now - when < SECONDS and which != link] if before else []
        recent.append((now, link))
        self._recent[key] = recent if len(recent) <= LINKS else recent[-LINKS:]
        if len(self._recent) > MAX_KEYS:
            self._recent.popitem(last=False)
        return len(recent) >= LINKS

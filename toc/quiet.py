"""Hosts of which nothing is known: most clicks go to one, and their verdict needs no second look-up.

Knows when the whole verdict on a URL follows from its host alone: no list has an entry under the host or a parent of it,
no object names it, it carries no sign, and nothing else in the URL could be one. Such a host is remembered for as long
as the very lists and objects that were asked are in use; any swap forgets all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from reputation.forms import host_suffixes, plain_host
from reputation.lists import Loaded
from reputation.objects import ObjectSet
from reputation.signs import FIRST_SEEN_HOURS, may_speak
from toc.sightings import Sighting
from toc.token import Flag, Sealed
from toc.unwrap import ANY_HOST_PATH, may_wrap
from toc.url import Url
from toc.verdict import Level, Verdict

MAX_HOSTS = 65_536
"""About 10 MB. When it is full it begins anew: the next click on each host is an ordinary look-up."""

_DIFFERS = int(Flag.TEXT_DIFFERS)
_FIRST_SEEN_MICROS = int(FIRST_SEEN_HOURS * 3_600_000_000)


class Silence(NamedTuple):
    """The sources that did not answer when the host was looked up, and the generations of those that did."""

    silent: tuple[str, ...]
    required: tuple[str, ...]
    consulted: tuple[tuple[str, str], ...]


class QuietHosts:
    """One per process. `asked`: the lists and objects that the answers rest on, compared by identity."""

    def __init__(self) -> None:
        self._asked: tuple[tuple[Loaded, ...], ObjectSet] | None = None
        self._hosts: dict[str, Silence] = {}
        self._object_hosts: frozenset[str] = frozenset()

    def verdict(
        self,
        url: Url,
        sealed: Sealed,
        now: datetime,
        seen: Sighting | None,
        asked: tuple[tuple[Loaded, ...], ObjectSet],
    ) -> Verdict | None:
        """The verdict on a plain URL of a quiet host; None where it must be looked up."""
        silence = self._hosts.get(url.host)
        if silence is None or not self._still(asked) or sealed.other or int(sealed.flags) & _DIFFERS:
            return None
        if may_speak(url) or url.path.startswith(ANY_HOST_PATH):  # a host of wrappers is never learnt
            return None
        if seen is not None and now.timestamp() * 1_000_000 - seen.first < _FIRST_SEEN_MICROS:
            return None
        silent, required, consulted = silence
        return Verdict(Level.UNTESTED, now, (), (), silent, required, False, (url.href,), False, consulted)

    def learn(self, url: Url, found: Verdict, asked: tuple[tuple[Loaded, ...], ObjectSet]) -> None:
        """Remember the host of `url` where `found` and `asked` have nothing on it."""
        if found.matches or found.signs or found.approved or url.is_ip or may_wrap(url):
            return
        if not self._still(asked):
            self._asked = asked
            self._hosts = {}
            self._object_hosts = frozenset(_named(asked[1]))
        host = plain_host(url.host)
        if any(item.index is not None and item.index.knows(host) for item in asked[0]):
            return
        if not self._object_hosts.isdisjoint(host_suffixes(host)):
            return
        if len(self._hosts) >= MAX_HOSTS:
            self._hosts = {}
        self._hosts[url.host] = Silence(found.silent, found.required, found.consulted)

    def _still(self, asked: tuple[tuple[Loaded, ...], ObjectSet]) -> bool:
        return self._asked is not None and self._asked[0] is asked[0] and self._asked[1] is asked[1]


def _named(objects: ObjectSet) -> Iterable[str]:
    """Every host that an object names."""
    yield from objects.hosts
    yield from objects.urls

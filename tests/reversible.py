"""A `Protect` without keys for tests: the target stands in the link in base64url, so that any test can read it back."""

from __future__ import annotations

import base64
import html
import re

from toc.errors import BadUrl
from toc.link import Fate, Keep, Link, Sealed
from toc.url import parse

PREFIX = "https://toc.example/u/"
_OWN = re.compile(r"https://toc\.example/u/[a-z0-9.\-]+/1([A-Za-z0-9_\-]{40,})x\Z")
_FILL = "0" * 24
"""Makes the token as long as a real one at least."""


def link_to(url: str) -> str:
    host = re.sub(r"[^a-z0-9.]", "-", url.split("/")[2].rpartition("@")[2].lower())[:63] or "-"
    return f"{PREFIX}{host}/1{base64.urlsafe_b64encode((_FILL + url + _FILL).encode()).decode().rstrip('=')}x"


def protect(link: Link) -> Fate:
    """Seals everything but its own links, which it keeps as the real one does."""
    if link.url.startswith(PREFIX):
        return Keep("own_link" if open_link(link.url) else "own_invalid")
    return Sealed(link_to(link.url), "untested")


def open_link(url: str) -> str | None:
    """The target of a link of ours, None for anything else."""
    found = _OWN.match(url)
    if found is None:
        return None
    text = found.group(1)
    if len(text) % 4 == 1:
        return None
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).decode().rstrip("=") != text:
        return None
    target = raw.decode("utf-8", "replace")
    return target[len(_FILL) : -len(_FILL)] if target.startswith(_FILL) and target.endswith(_FILL) else None


def seal_restore(data: bytes) -> str:
    return base64.urlsafe_b64encode(b"sealed" + data).decode()


def open_restore(text: str) -> bytes | None:
    try:
        raw = base64.urlsafe_b64decode(text)
    except ValueError:
        return None
    return raw.removeprefix(b"sealed") if raw.startswith(b"sealed") else None


_OWN_ANYWHERE = re.compile(r"https://toc\.example/u/[a-z0-9.\-]+/1[A-Za-z0-9_\-]{40,}?x(?![A-Za-z0-9_\-])")
_INSERTED = re.compile(
    r'<a href="(https://toc\.example/u/[^"]*)" style="color:inherit;text-decoration:inherit">([^<]*)</a>'
)


def damage(before: str, after: str) -> str:
    """What differs between two decoded texts apart from links of ours in `after`; empty where nothing does.

    Knows nothing of edits: what stands between two links of ours must stand in `before`, in order, and the gap between
    must be a spelling of the target.
    """
    after = _INSERTED.sub(lambda found: found.group(2) if open_link(found.group(1)) else found.group(), after)
    place = at = 0
    links = [found for found in _OWN_ANYWHERE.finditer(after) if open_link(found.group())]
    for number, found in enumerate(links):
        literal = after[at : found.start()]
        if not before.startswith(literal, place):
            return _first_difference(before, place, literal)
        place += len(literal)
        at = found.end()
        if before.startswith(found.group(), place):  # it was there before
            place += len(found.group())
            continue
        until = after[at : links[number + 1].start()] if number + 1 < len(links) else after[at:]
        gap = _gap(before, place, until, number + 1 == len(links))
        if gap is None or not _spells(gap, open_link(found.group()) or ""):
            missing = _first_difference(before, before.find(until[:20], place), until)
            return f"at {place}: {before[place : place + 80]!r} became {found.group()[:60]}, and {missing}"
        place += len(gap)
    return "" if before[place:] == after[at:] else _first_difference(before, place, after[at:])


def _first_difference(before: str, place: int, wanted: str) -> str:
    same = next((at for at, character in enumerate(wanted) if before[place + at : place + at + 1] != character), 0)
    return f"at {place + same}: {before[place + same :][:60]!r} became {wanted[same:][:60]!r}"


def _gap(before: str, place: int, until: str, last: bool) -> str | None:
    """What a link replaced: all up to the text behind it."""
    if last:
        return before[place : len(before) - len(until)] if before.endswith(until) else None
    end = before.find(until, place + 1)
    return before[place:end] if until and end >= 0 else None


def _spells(gap: str, target: str) -> bool:
    """Whether a browser goes to the same host for `gap`, as far as that can be told without its base URL."""
    text = re.sub(r"[\u200b-\u200d\u2060\ufeff\u00ad\t\r\n]| \r?\n>* ?", "", html.unescape(gap)).strip()
    for spelling in (text, "http:" + text, "http://" + text):
        try:
            if parse(spelling).host == parse(target).host:
                return True
        except BadUrl:
            continue
    return not re.match(r"(?i)\s*https?:", text)  # relative to a base

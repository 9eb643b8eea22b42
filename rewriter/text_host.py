"""Where the host of a URL in running text begins and ends. Knows hosts and public suffixes; no path, no link.

Rules 1 and 2 of docs/text-boundary.md. A run of host characters is read once, whatever starts in it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from rewriter.text_chars import CJK, HOST_RUN, SYMBOL_OR_CJK
from toc.url import ascii_host, public_suffixes

MAX_HOST = 253
"""Octets of a name in DNS (RFC 1035, 2.3.4), without the dot at the end."""

MAX_SPELT = 3 * MAX_HOST
"""Characters of a host as spelt, with every octet percent-encoded."""

_USERINFO = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=:@]{0,256}@")
"""Up to the last ``@``, as browsers have it."""

_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")
_PORT = re.compile(r":([0-9]{1,5})(?![0-9])")
_ASCII = re.compile(r"[\x00-\x7f]*")
_ASCII_LABEL = re.compile(r"(?<=\.)[A-Za-z0-9\-_]{2,63}(?=[^A-Za-z0-9\-_%])")
_EMPTY_LABEL = re.compile(r"\.(?=\.)")
_BARE_FORBIDDEN = frozenset("@/\\.-_~=&?%#+$")


@dataclass(slots=True)
class _Run:
    """A run of host characters: where hosts in it may end.

    glued: ends of labels that are a public suffix with text glued to them
    empty: ends of labels before an empty one
    last:  begin of the last label
    end:   end of a host that reaches the last label and has more than that
    """

    start: int
    stop: int
    ascii: bool
    glued: list[int]
    empty: list[int]
    last: int
    end: int


class Hosts:
    """Finds hosts in one text. Positions are best asked in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._run = _Run(0, 0, True, [], [], 0, 0)
        self._dot = -2  # the dot asked last, and where its run of letters began
        self._bare = 0

    def end(self, start: int, *, dots: int = 0) -> int | None:
        """Where the host that begins at `start` ends; None where there is no host.

        `dots`: how many the host must have at least (a URL that begins with ``www.`` needs two).
        """
        text, run = self._text, self._run
        if not run.start <= start < run.stop:
            match = HOST_RUN.match(text, start)
            if match is None:
                return None
            run = self._run = _read(text, start, match.end())
        end = self._end_in(run, start)
        if end - start > 1 and text[end - 1] == "." and text[end : end + 1] not in ("/", ":", "?", "#"):
            end -= 1  # the dot of a sentence, not the root of DNS
        if not 0 < end - start <= MAX_SPELT:
            return None
        host = text[start:end]
        if host[0] == "." or host.count(".") < dots or _too_long(host):
            return None
        return end

    def authority(self, start: int) -> int | None:
        """The end of host and port of what stands behind ``://``; None where there is no host."""
        info = _USERINFO.match(self._text, start)
        host = info.end() if info else start
        if self._text.startswith("[", host):
            literal = _IPV6.match(self._text, host)
            end = literal.end() if literal else None
        else:
            end = self.end(host)
        if end is None and info:
            end = self.end(start)  # nothing behind the @: clients link what stands before it
        return None if end is None else port_end(self._text, end)

    def bare_start(self, dot: int) -> int | None:
        """Where the host without a scheme that holds the dot at `dot` begins; None where that is a mail address, a
        file path or part of something longer. Dots must be asked in ascending order."""
        text, start = self._text, dot
        while start and start - 1 != self._dot and _bare_letter(text[start - 1]):
            start -= 1
        if start and start - 1 == self._dot:
            start = self._bare  # the same run as the last time
        self._dot, self._bare = dot, start
        if start == dot or not text[start].isalnum() or (start and text[start - 1] in _BARE_FORBIDDEN):
            return None
        return start

    def _end_in(self, run: _Run, start: int) -> int:
        text = self._text
        if start >= run.last:
            return run.stop if run.ascii else _last_end(text, start, run.stop, alone=True)
        first_dot = text.find(".", start, run.stop)
        end = run.end
        if (index := bisect_left(run.empty, start)) < len(run.empty):
            end = min(end, run.empty[index])
        if (index := bisect_right(run.glued, first_dot)) < len(run.glued):
            end = min(end, run.glued[index])
        return end


def port_end(text: str, end: int) -> int:
    """`end`, or the end of the port that stands there."""
    port = _PORT.match(text, end)
    return port.end() if port and int(port.group(1)) < 65536 else end


def known_suffix(host: str) -> bool:
    """Whether `host` lies below an ICANN suffix, and is not one itself."""
    host = host.lower()
    suffixes = public_suffixes()
    return host.rpartition(".")[2] in suffixes and host not in suffixes


def _bare_letter(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-."
    return character.isalpha() and not CJK.match(character)


def _too_long(host: str) -> bool:
    """Whether DNS could not hold the name: a percent-encoded octet counts once, a foreign label as its A-label."""
    if len(host) <= MAX_HOST // 4:
        return False
    if len(host) - 2 * host.count("%") > MAX_HOST:
        return True
    return not host.isascii() and len(ascii_host(host) or "") > MAX_HOST


def _read(text: str, start: int, stop: int) -> _Run:
    """What the run `start`..`stop` says about hosts that begin in it."""
    empty = [match.start() for match in _EMPTY_LABEL.finditer(text, start, stop)]
    ascii_only = text[start:stop].isascii()
    last = text.rfind(".", start, stop - 1) + 1 if text[stop - 1] == "." else text.rfind(".", start, stop) + 1
    last = last or start
    if ascii_only:
        return _Run(start, stop, True, [], empty, last, stop)
    end = _last_end(text, last, stop, alone=last == start)
    follows = _suffix_prefix(text[last : min(stop, last + MAX_HOST)].rstrip(".")) > 0
    glued = []
    for match in _ASCII_LABEL.finditer(text, start, last):
        foreign = text[match.end()]
        if foreign == ".":  # a whole label: text may begin behind its dot
            if follows or match.end() + 1 >= stop:
                continue
            foreign = text[match.end() + 1]
        if SYMBOL_OR_CJK.match(foreign) and match.group().lower() in public_suffixes():
            glued.append(match.end())
    return _Run(start, stop, False, glued, empty, last, end)


def _last_end(text: str, start: int, stop: int, *, alone: bool) -> int:
    """The end of a host within its last label, which begins at `start`; `alone`: it is the only one."""
    label = text[start : min(stop, start + MAX_SPELT + 1)]
    glued = _ASCII.match(label)
    ascii_part = glued.group() if glued else ""
    if ascii_part:
        return stop if len(ascii_part) == len(label) else start + len(ascii_part.rstrip("-_"))
    if CJK.match(label):
        if alone:
            return start
        suffix = _suffix_prefix(label)
        return start + suffix if suffix else stop
    cjk = SYMBOL_OR_CJK.search(label)
    return start + cjk.start() if cjk else stop


def _suffix_prefix(label: str) -> int:
    """Length of the longest beginning of `label` that is a public suffix: `한국입니다` → 2; 0 where there is none.

    A label that begins in ASCII counts its ASCII part.
    """
    glued = _ASCII.match(label)
    if glued and glued.group():
        return glued.end() if glued.group().lower() in public_suffixes() else 0
    for length in range(min(len(label), 24), 0, -1):
        if label[:length] in public_suffixes():
            return length
    return 0

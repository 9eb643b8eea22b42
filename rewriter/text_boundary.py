"""Where a URL in running text ends, behind its host. Knows characters; knows no host, no link, no mail.

Rules 3 to 6 and 8 of docs/text-boundary.md, our profile of UTS #58 (link detection). A `Walker` goes through one text
from left to right; what it learns about the stretch up to the next stop it keeps, so that no text is read more than a
fixed number of times, whatever stands in it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from rewriter.text_chars import (
    CJK,
    CJK_RUN,
    EXTENSION,
    FILE_IN_BRACKETS,
    HAS_HIRAGANA,
    JOINERS,
    KOREAN_PARTICLES,
    MIDDLE_DOTS,
    PARTICLE,
    STOP,
    TO_STOP,
)

_BRACKET = re.compile(r"[()\[\]]")
_NEXT = re.compile(r"[()\[\]]|https?://", re.IGNORECASE)
_CLOSING = {")": "(", "]": "["}
_SEGMENT_END = re.compile(r"[/?#]")
_SECOND_URL = re.compile(r"[,;]https?://", re.IGNORECASE)
_REAL_QUERY = re.compile(r"\?[A-Za-z0-9_%]")
_TRAILING = ".,;:!?'\""
_ENTITY = re.compile(r"&[A-Za-z0-9]{1,31}\Z")
_DELIMITERS = "_*~"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of text up to the next stop.

    stop:     where it ends
    ascii:    it holds nothing but ASCII
    brackets: positions of its brackets
    partner:  of each bracket that has one in it
    runs:     its runs of CJK letters, (start, end)
    starts:   their starts
    """

    stop: int
    ascii: bool
    brackets: list[int]
    partner: dict[int, int]
    runs: list[tuple[int, int]]
    starts: list[int]


@dataclass(frozen=True, slots=True)
class End:
    """Where a URL ends; `other` is the end in the other reading, where rules 5 and 6 had to guess."""

    end: int
    other: int | None = None


class Walker:
    """Finds the ends of URLs in one text. Positions must be asked in ascending order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._stretch = Stretch(-1, True, [], {}, [], [])

    def end(self, start: int, tail: int) -> End:
        """The end of the URL that begins at `start` and whose host and port end at `tail`."""
        if self._text[tail : tail + 1] not in ("/", "?", "#"):
            return End(tail)
        stretch = self._stretch
        if tail >= stretch.stop:
            stretch = self._stretch = _stretch(self._text, tail)
        if stretch.ascii and not stretch.brackets:
            raw, other = stretch.stop, None
        else:
            raw, other = _Walk(self._text, tail, stretch).go()
        end = self._finish(start, tail, raw)
        if other is None or (other := self._finish(start, tail, other)) == end:
            return End(end)
        return End(end, other)

    def _finish(self, start: int, tail: int, end: int) -> int:
        """Cut before a second URL in a list, then punctuation at the end."""
        second = _SECOND_URL.search(self._text, tail, end)
        if second:
            end = second.start()
        return _trim(self._text, start, tail, end)


def _trim(text: str, start: int, tail: int, end: int) -> int:
    before = text[start - 1 : start] if start else ""
    while end > tail:
        last = text[end - 1]
        if last in _TRAILING:
            end -= 1
            if last == ";":
                # GFM 6.9: what looks like a character reference at the end is none of the URL.
                entity = _ENTITY.search(text, max(tail, end - 33), end)
                end = entity.start() if entity else end
        elif last in _DELIMITERS and last == before:
            end -= 1
        else:
            break
    return end


def _stretch(text: str, start: int) -> Stretch:
    stop = _stop(text, start)
    ascii_only = text[start:stop].isascii()
    brackets: list[int] = []
    partner: dict[int, int] = {}
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for match in _BRACKET.finditer(text, start, stop):
        at, sign = match.start(), match.group()
        brackets.append(at)
        if sign in opened:
            opened[sign].append(at)
        elif opened[_CLOSING[sign]]:
            mate = opened[_CLOSING[sign]].pop()
            partner[mate], partner[at] = at, mate
    runs = [] if ascii_only else [m.span() for m in CJK_RUN.finditer(text, start, stop)]
    return Stretch(stop, ascii_only, brackets, partner, runs, [run[0] for run in runs])


def _stop(text: str, start: int) -> int:
    """The first stop at or behind `start`."""
    at = start
    while (at := _end_of_run(text, at)) < len(text):
        passed = _passes(text, at, start)
        if passed == at:
            return at
        at = passed
    return at


def _end_of_run(text: str, start: int) -> int:
    found = TO_STOP.match(text, start)
    return found.end() if found else start


def _passes(text: str, at: int, start: int) -> int:
    """Where to go on behind the stop at `at`, if the URL goes on there; else `at`."""
    sign, before, after = text[at], text[at - 1], text[at + 1 : at + 2]
    if sign in MIDDLE_DOTS:
        return at + 1 if CJK.match(before) and CJK.match(after) else at
    if sign == "\uff5e":  # a home directory whose tilde an input method made wide: /～tanaka/
        return at + 1 if before == "/" and after.isascii() and after.isalpha() else at
    if sign in JOINERS:  # inside a word of Persian, Malayalam, …
        goes_on = _foreign_letter(after) or (after.isascii() and not STOP.match(after or " "))
        return at + 1 if _foreign_letter(before) and goes_on else at
    if sign == "\u2013":  # a dash in a title of Wikipedia: /wiki/Hatfield–McCoy_feud
        inside = before.isalnum() and after.isalnum() and before.isascii() and after.isascii()
        return at + 1 if inside and text.find("/wiki/", max(start, at - 256), at) >= 0 else at
    if sign == "\uff08":
        name = FILE_IN_BRACKETS.match(text, at)
        extension = EXTENSION.search(text, at, name.end()) if name else None
        return extension.end() if extension else at
    return at


def _foreign_letter(character: str) -> bool:
    return bool(character) and not character.isascii() and not STOP.match(character) and not CJK.match(character)


class _Walk:
    """One way from the end of the host to the end of the URL, over brackets and runs of CJK letters."""

    def __init__(self, text: str, start: int, stretch: Stretch) -> None:
        self._text = text
        self._start = start
        self._stretch = stretch
        self._seen = start  # everything before has been looked at
        self._mode = {"?": "query", "#": "fragment"}.get(text[start], "path")
        self._segment = start  # the slash, or other delimiter, that the segment begins with
        self._wiki = False
        self._kept = False  # CJK letters of this segment or value belong to the URL
        self._file_end: int | None = None  # end of the file name in this segment; -1: there is none
        self._other: int | None = None

    def go(self) -> tuple[int, int | None]:
        """(end, end in the other reading or None)."""
        stretch = self._stretch
        bracket = bisect_left(stretch.brackets, self._start)
        run = bisect_left(stretch.starts, self._start)
        while True:
            next_bracket = stretch.brackets[bracket] if bracket < len(stretch.brackets) else stretch.stop
            start, end = stretch.runs[run] if run < len(stretch.runs) else (stretch.stop, stretch.stop)
            if next_bracket == start:
                return stretch.stop, self._other
            if next_bracket < start:
                self._advance(next_bracket)
                if not self._bracket_belongs(next_bracket, start):
                    return next_bracket, self._other
                bracket += 1
                continue
            self._advance(start)
            if not self._run_belongs(start, end):
                return start, self._whole(start)
            run += 1

    def _whole(self, start: int) -> int:
        """The other reading of a cut at `start`: up to the first sign that would end it anyway, at most the stop."""
        if self._other is not None:
            return self._other
        match = _NEXT.search(self._text, start, min(self._stretch.stop, start + 1024))
        return match.start() if match else min(self._stretch.stop, start + 1024)

    def _advance(self, to: int) -> None:
        """Look at what lies between the last place and `to`: slashes, the query's and the fragment's sign."""
        text, seen = self._text, self._seen
        if self._mode == "path":
            self._advance_path(seen, to)
        if self._mode == "query" and text.find("&", seen, to) >= 0:
            self._kept = False
        if self._mode != "fragment" and text.find("#", seen, to) >= 0:
            self._mode, self._kept = "fragment", False
        self._seen = to

    def _advance_path(self, seen: int, to: int) -> None:
        text = self._text
        query = _REAL_QUERY.search(text, seen, min(to + 1, self._stretch.stop))
        slash = text.rfind("/", seen, query.start() if query else to)
        if slash >= 0:
            self._segment, self._kept, self._file_end = slash, False, None
        if text.find("/wiki/", max(self._start, seen - 6), to) >= 0:
            self._wiki = True
        if query:
            self._mode, self._kept = "query", False

    def _bracket_belongs(self, at: int, next_run: int) -> bool:
        mate = self._stretch.partner.get(at, -1)
        if mate < self._start:
            return False
        if self._text[at] in _CLOSING:
            return True
        before = self._text[at - 1]
        if self._wiki or before == "_":
            return True
        return next_run >= mate and not self._behind_extension(at)

    def _behind_extension(self, at: int) -> bool:
        dot = self._text.rfind(".", max(self._segment, at - 8), at)
        match = EXTENSION.match(self._text, dot, at) if dot >= 0 and self._mode == "path" else None
        return match is not None and match.end() == at

    def _run_belongs(self, start: int, end: int) -> bool:
        before = self._text[start - 1]
        if self._wiki and self._mode == "path":
            # A title ends with its bracket: what is glued behind it is text.
            return not (before == ")" and PARTICLE.match(self._text, start))
        if before in "=#":
            self._kept = True
            return self._keep(start)
        if self._mode == "path" and (inside := self._in_file_name(start, end)) is not None:
            return self._keep(start) if inside else False
        if before == "?" or (before == "&" and self._mode != "query"):
            return False
        if self._mode == "path" and before in ",;!~.":
            return EXTENSION.match(self._text, end) is not None and self._keep(start)
        return self._letters_belong(start, end, before) and self._keep(start)

    def _letters_belong(self, start: int, end: int, before: str) -> bool:
        run = self._text[start:end]
        if before == "/" and not (self._mode == "path" and self._segment == self._start):
            self._kept = not (HAS_HIRAGANA.match(run) or run in KOREAN_PARTICLES)
            return self._kept
        if self._kept and (self._mode == "path" or not HAS_HIRAGANA.search(run)):
            return True
        if HAS_HIRAGANA.search(run):
            return False
        return self._sign_follows(end)

    def _sign_follows(self, end: int) -> bool:
        text = self._text
        sign = text[end : end + 1]
        if sign == "/":
            return True
        if sign == "?":
            return _REAL_QUERY.match(text, end) is not None
        if sign in ("&", "="):
            return self._mode == "query"
        return EXTENSION.match(text, end) is not None

    def _in_file_name(self, start: int, end: int) -> bool | None:
        """True inside a file name with a known extension, False behind the extension, None where there is no such
        file name in this segment."""
        if self._file_end is None:
            self._file_end = self._find_file(start)
        if self._file_end < 0:
            return None
        return end <= self._file_end

    def _find_file(self, start: int) -> int:
        text, stop = self._text, self._stretch.stop
        if self._behind_extension(start):
            return start
        if PARTICLE.match(text, start):
            return -1
        border = _SEGMENT_END.search(text, start, stop)
        extension = EXTENSION.search(text, start, border.start() if border else stop)
        return extension.end() if extension else -1

    def _keep(self, start: int) -> bool:
        if self._other is None:
            self._other = start
        return True

"""The tokeniser: tags, comments and text of an HTML source with their exact places. Pure; knows no link.

It follows the WHATWG tokeniser (HTML, 13.2.5) and as much of the tree construction as decides how the next bytes are read:
raw text elements, foreign content with its integration points and breakout tags, script escapes, CDATA. Every pattern is
possessive and anchored, and an unclosed construct ends the scan, so that no input makes it look at a byte twice for long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from rewriter.html_foreign import OpenElements
from rewriter.html_stack import HTML

_WS = r"\t\n\f\r "
_NAME = rf"(?:=[^{_WS}/>=]*+|[^{_WS}/>=]++)"
_VALUE = rf'"[^"]*+"|\'[^\']*+\'|(?=>)|[^{_WS}>"\'][^{_WS}>]*+'
_ATTRIBUTES = rf"(?:[{_WS}/]++|{_NAME}(?:[{_WS}]*+=[{_WS}]*+(?:{_VALUE})|(?![{_WS}]*+=)))*+"
_TAG = re.compile(rf"<(/?)([a-zA-Z][^{_WS}/>]*+)({_ATTRIBUTES})>")
_ATTRIBUTE = re.compile(
    rf"[{_WS}/]*+({_NAME})(?:[{_WS}]*+(=)[{_WS}]*+(?:\"([^\"]*+)\"|'([^']*+)'|([^{_WS}>\"'][^{_WS}>]*+))?+)?+"
)
_COMMENT_END = re.compile(r"--!?>")
_RAW_END = {
    name: re.compile(rf"</{name}(?=[{_WS}/>])", re.IGNORECASE)
    for name in ("title", "textarea", "style", "xmp", "iframe", "noembed", "noframes")
}
_SCRIPT = re.compile(rf"<!--|-->|<(/?)script(?=[{_WS}/>])", re.IGNORECASE)
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

RAW_TEXT = frozenset({*_RAW_END, "script", "plaintext"})

INTERESTING = (
    "a", "applet", "area", "base", "button", "embed", "form", "frame", "iframe", "input", "isindex", "math", "meta",
    "noembed", "noframes", "object", "plaintext", "portal", "script", "select", "style", "svg", "textarea", "title", "xmp",
)  # fmt: skip
"""Elements that hold links or change how what follows is read. All other tags are stepped over in one match."""

_URL_MARK = (
    r"[.:&](?:(?<=[tT][tT][pP]:)|(?<=[tT][pP][sS]:)|(?<=[wW][wW][wW]\.)"
    r"|(?<=[a-zA-Z0-9\-\u0080-\U0010ffff]\.)[a-zA-Z\u0080-\U0010ffff][\w\-]++(?::\d++)?/"
    r"|(?<=&)(?:#|(?:colon|period|sol|Tab|NewLine|shy)\b))"
)
MAY_HOLD_URL = re.compile(_URL_MARK)
"""A place in text that shows that it may hold a URL at all; references may spell one. Each mark begins with one of three
characters, which makes the search several times faster than one for the URL's first character."""

_COMMON = (
    "td", "tr", "th", "thead", "table", "tbody", "tfoot", "p", "br", "b", "body", "div", "span", "strong", "small", "sup", "img",
    "i", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "html", "head", "em", "u", "ul", "font", "center", "ol", "li",
)  # fmt: skip
"""Most of the tags in mails; as nearly all of them are spelt, in lower case, they are stepped over twice as fast."""


def _any_of(names: Iterable[str], *, any_case: bool = True) -> str:
    """A pattern for these names, by first letter, as a regex engine tries alternatives one by one."""
    by_letter: dict[str, list[str]] = {}
    for name in names:
        letter, *rest = (f"[{c}{c.upper()}]" if any_case and c.isalpha() else c for c in name)
        by_letter.setdefault(letter, []).append("".join(rest))
    return "|".join(f"{letter}(?:{'|'.join(rests)})" for letter, rests in by_letter.items())


MANY = 1000
"""Attributes of one tag, or spaces between them, beyond which it is not stepped over but looked at."""

_QUOTED = rf"(?: [a-z-]++=\"[^\"]*+\"){{1,{MANY}}}+>"
_PLAIN = rf"(?:[{_WS}]++[^{_WS}\"'>/=<]++(?:=(?:\"[^\"]*+\"|'[^']*+'))?+){{0,{MANY}}}+[{_WS}]*+/?+>"
"""The spellings that nearly all attributes have, the usual one first: read three times as fast as by the full pattern, which
stands behind them."""

_FEW_ATTRIBUTES = _ATTRIBUTES.removesuffix("*+") + f"{{0,{2 * MANY}}}+"
_SILENT = "[^<.:&]*+"
_BORING = re.compile(
    rf"{_SILENT}(?:</?(?:{_any_of(_COMMON, any_case=False)})(?:>|{_QUOTED}|{_PLAIN}){_SILENT}"
    rf"|</?(?!(?:{_any_of(INTERESTING)})[{_WS}/>]|[a-zA-Z]++:)[a-zA-Z][^{_WS}/>]*+(?:{_PLAIN}|{_FEW_ATTRIBUTES}>)"
    rf"|(?!{_URL_MARK})[.:&]{_SILENT}|[^<.:&]++)*+"
)


class Kind(IntEnum):
    TEXT = 0
    START = 1
    END = 2
    COMMENT = 3  # bogus comments, doctypes and processing instructions too
    RAW = 4  # content of a raw text or RCDATA element


TEXT, START, END, COMMENT, RAW = Kind
"""The kinds once more: to ask the enumeration for a member costs as much as a match, and this is asked for each token."""


class Token(NamedTuple):
    """source[start:end]. `name` in lower case; `space`: the namespace of a tag; inner: where the attributes stand."""

    kind: Kind
    start: int
    end: int
    name: str = ""
    space: str = HTML
    inner: tuple[int, int] = (0, 0)


class Attribute(NamedTuple):
    """`name` in lower case. source[start:end] is the raw value without quotes; `quote` is ``"``, ``'`` or empty.

    Without a value `start` and `end` are where one would be written, and `assigned` says whether ``=`` stands there.
    """

    name: str
    start: int
    end: int
    quote: str
    assigned: bool


def attributes(source: str, token: Token) -> dict[str, Attribute]:
    """The attributes of a start tag, the first of duplicates."""
    found: dict[str, Attribute] = {}
    place, end = token.inner
    while place < end:
        match = _ATTRIBUTE.match(source, place, end)
        if match is None:
            break
        name = match.group(1).translate(_LOWER).replace("\0", "\ufffd")
        place = match.end()
        if name in found:
            continue
        for group, quote in ((3, '"'), (4, "'"), (5, "")):
            if match.group(group) is not None:
                found[name] = Attribute(name, match.start(group), match.end(group), quote, True)
                break
        else:
            at = match.end(2) if match.group(2) else match.end(1)
            found[name] = Attribute(name, at, at, "", match.group(2) is not None)
    return found


_HREF = re.compile(
    rf"(?:[{_WS}]++(?![hH][rR][eE][fF][{_WS}=/>])[^{_WS}\"'>/=<]++(?:=(?:\"[^\"]*+\"|'[^']*+'))?+)*+"
    rf'[{_WS}]++[hH][rR][eE][fF]="([^"]*+)"'
)


def href(source: str, token: Token) -> Attribute | None:
    """The attribute `href` of a start tag: the one that nearly every link has, without reading what stands behind it."""
    match = _HREF.match(source, *token.inner)
    if match is None:
        return attributes(source, token).get("href")
    return Attribute("href", match.start(1), match.end(1), '"', True)


def is_self_closing(source: str, token: Token) -> bool:
    """Whether ``/`` stands before ``>`` and is no part of an unquoted value."""
    place, end = token.inner
    if source[end - 1 : end] != "/" or end == place:
        return False
    while (match := _ATTRIBUTE.match(source, place, end)) is not None:
        place = match.end()
    return place < end


def scan(
    source: str,
    start: int = 0,
    end: int | None = None,
    *,
    stretches: bool = True,
    raw_text: bool = True,
    inner: bool = False,
) -> Iterator[Token]:
    """The tokens of source[start:end], ascending.

    stretches: boring tags, and text in which no URL can stand, are stepped over in one match and left out
    raw_text:  whether raw text elements hold text; else their content is markup like any other
    inner:     a comment that does not end here hides nothing, as the region's end is not that of the document
    """
    scanner = _Scanner(source, start, len(source) if end is None else end, inner)
    return scanner.tokens(start, stretches, raw_text)


def tell(elements: OpenElements, source: str, token: Token) -> None:
    """Have the open elements take in a token."""
    if token.kind is START:
        _start_element(elements, source, token)
    elif token.kind is END:
        elements.close(token.name)
    elif token.kind is TEXT:
        elements.text(source, token.start, token.end)
    elif token.kind is COMMENT:
        elements.doctype(source[token.start : min(token.end, token.start + 512)])


def _start_element(elements: OpenElements, source: str, token: Token) -> str:
    return elements.start(
        token.name,
        lambda: attributes(source, token),
        source,
        lambda: is_self_closing(source, token),
        source[token.inner[0] : token.inner[1]],
    )


class _Scanner:
    def __init__(self, source: str, start: int, end: int, inner: bool) -> None:
        self._source = source
        self._end = end
        self._transparent = inner
        self._endless = False
        self._open = OpenElements()
        self._seen = start  # from here on stands what the open elements have not been told

    def tokens(self, place: int, stretches: bool, raw_text: bool) -> Iterator[Token]:
        source, end = self._source, self._end
        while place < end:
            if stretches and not self._open:
                place = _end_of_stretch(source, place, end)
                if place >= end:
                    return
            bracket = source.find("<", place, end)
            if bracket < 0:
                yield Token(TEXT, place, end)
                return
            if self._open and bracket > place:
                self._open.text(source, place, bracket)
            token = self._markup(bracket)
            if token is None:  # an unclosed tag: browsers drop it and everything behind it
                if bracket > place:
                    yield Token(TEXT, place, bracket)
                return
            if token.kind is TEXT:
                yield Token(TEXT, place, token.end)
                place = token.end
                continue
            if bracket > place:
                yield Token(TEXT, place, bracket)
            yield token
            place = token.end
            if raw_text and token.kind is START and token.space == HTML and token.name in RAW_TEXT:
                raw = self._raw(token.name, place)
                if raw > place:
                    yield Token(RAW, place, raw, token.name)
                place = raw

    def _markup(self, place: int) -> Token | None:
        """The token at ``<``; a TEXT token where it is only a character; None where it never ends."""
        source, end = self._source, self._end
        match = _TAG.match(source, place, end)
        if match is None:
            return self._no_tag(place)
        name = match.group(2)
        if not name.islower() or not name.isalpha():
            name = name.translate(_LOWER).replace("\0", "\ufffd")
        if match.group(1):
            if not self._open:
                return Token(END, place, match.end(), name, HTML, match.span(3))
            self._seen = match.end()
            return Token(END, place, match.end(), name, self._open.close(name), match.span(3))
        token = Token(START, place, match.end(), name, HTML, match.span(3))
        if not self._open:
            if name not in ("svg", "math"):
                return token
            self._look_outside(place)
        self._seen = match.end()
        return token._replace(space=_start_element(self._open, source, token))

    def _no_tag(self, place: int) -> Token | None:
        """The same where no whole tag begins."""
        source, end = self._source, self._end
        after = source[place + 1 : place + 2] if place + 1 < end else ""
        if after == "!":
            return self._declaration(place)
        if after == "?" or (after == "/" and place + 2 < end and not _is_letter(source[place + 2])):
            if source.startswith("</>", place):
                return Token(COMMENT, place, place + 3)
            return Token(COMMENT, place, self._behind(">", place))
        if not _is_letter(after) and not (after == "/" and place + 2 < end):
            return Token(TEXT, place, place + 1)
        return None

    def _look_outside(self, place: int) -> None:
        """Tell the open elements what was stepped over."""
        for token in scan(self._source, self._seen, place, stretches=False):
            tell(self._open, self._source, token)

    def _declaration(self, place: int) -> Token:
        source = self._source
        if source.startswith("<!--", place):
            if source.startswith(">", place + 4):
                return Token(COMMENT, place, place + 5)
            if source.startswith("->", place + 4):
                return Token(COMMENT, place, place + 6)
            match = None if self._endless else _COMMENT_END.search(source, place + 4, self._end)
            if match is not None:
                return Token(COMMENT, place, match.end())
            self._endless = True
            return Token(COMMENT, place, place + 4 if self._transparent else self._end)
        if source.startswith("<![CDATA[", place) and self._open.in_foreign_content:
            return Token(COMMENT, place, self._behind("]]>", place))
        return Token(COMMENT, place, self._behind(">", place))

    def _behind(self, mark: str, place: int) -> int:
        found = self._source.find(mark, place, self._end)
        return self._end if found < 0 else found + len(mark)

    def _raw(self, name: str, place: int) -> int:
        """Where the content of a raw text element ends."""
        if name == "plaintext":
            return self._end
        if name == "script":
            return self._script(place)
        match = _RAW_END[name].search(self._source, place, self._end)
        return match.start() if match else self._end

    def _script(self, place: int) -> int:
        """Script data with its escaped and double escaped states (WHATWG, 13.2.5.15 to 13.2.5.31)."""
        escaped = double = False
        while (match := _SCRIPT.search(self._source, place, self._end)) is not None:
            text = match.group()
            place = match.end()
            if text == "<!--":
                escaped = True
                place -= 2  # its dashes may already begin the end: <!-->
            elif text == "-->":
                escaped = double = False
            elif match.group(1):
                if not double:
                    return match.start()
                double = False
            elif escaped:
                double = True
        return self._end


def _end_of_stretch(source: str, place: int, end: int) -> int:
    """Where boring tags and text end. A text that may hold a URL is left whole: it begins behind the last tag."""
    match = _BORING.match(source, place, end)
    assert match is not None  # it matches an empty stretch too
    stop = match.end()
    if stop < end and source[stop] != "<":
        return max(source.rfind(">", place, stop) + 1, place)
    return stop


def _is_letter(character: str) -> bool:
    return character.isascii() and character.isalpha()

"""Which namespace a tag falls into: SVG and MathML inside HTML, integration points, breakout tags (WHATWG, 13.2.6.5). Pure.

Only elements inside an `svg` or `math` are kept on the stack; outside, the tokeniser needs no tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

HTML = "html"
SVG = "svg"
MATH = "math"

BREAKOUT = frozenset(
    {
        "b", "big", "blockquote", "body", "br", "center", "code", "dd", "div", "dl", "dt", "em", "embed", "h1", "h2", "h3",
        "h4", "h5", "h6", "head", "hr", "i", "img", "li", "listing", "menu", "meta", "nobr", "ol", "p", "pre", "ruby", "s",
        "small", "span", "strong", "strike", "sub", "sup", "table", "tt", "u", "ul", "var",
    }
)  # fmt: skip
VOID = frozenset(
    {
        "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "image", "img", "input", "keygen", "link",
        "meta", "param", "source", "track", "wbr",
    }
)  # fmt: skip
_SVG_POINTS = frozenset({"foreignobject", "desc", "title"})
_MATH_POINTS = frozenset({"mi", "mo", "mn", "ms", "mtext"})
_HTML_ENCODINGS = frozenset({"text/html", "application/xhtml+xml"})


class Placed(Protocol):
    """An attribute with the place of its value."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    space: str
    point: bool = False  # an integration point: HTML may stand inside


class OpenElements:
    """The open elements from the outermost `svg` or `math` on. False while there is none."""

    def __init__(self) -> None:
        self._stack: list[_Element] = []

    def __bool__(self) -> bool:
        return bool(self._stack)

    @property
    def in_foreign_content(self) -> bool:
        return bool(self._stack) and self._stack[-1].space != HTML

    def start(
        self,
        name: str,
        attributes: Callable[[], Mapping[str, Placed]],
        source: str,
        self_closing: Callable[[], bool],
    ) -> str:
        """Take in a start tag; returns its namespace."""
        stack = self._stack
        while stack:
            top = stack[-1]
            if top.space == HTML or self._is_point_for(top, name):
                break
            if name not in BREAKOUT and not (name == "font" and {"color", "face", "size"} & attributes().keys()):
                element = _Element(name, top.space, _is_point(name, top.space, attributes, source))
                if not self_closing():
                    stack.append(element)
                return top.space
            while stack and stack[-1].space != HTML and not stack[-1].point:
                stack.pop()
        if name in (SVG, MATH):
            if not self_closing():
                stack.append(_Element(name, name))
            return name
        if stack and name not in VOID:
            stack.append(_Element(name, HTML))
        return HTML

    @staticmethod
    def _is_point_for(top: _Element, name: str) -> bool:
        if not top.point:
            return False
        return not (top.space == MATH and name in ("mglyph", "malignmark"))

    def close(self, name: str) -> None:
        """Take in an end tag."""
        stack = self._stack
        if not stack:
            return
        if name in ("p", "br") and stack[-1].space != HTML and not stack[-1].point:
            while stack and stack[-1].space != HTML and not stack[-1].point:
                stack.pop()
            return
        from_html = stack[-1].space == HTML
        for place in range(len(stack) - 1, -1, -1):
            element = stack[place]
            if element.name == name:
                del stack[place:]
                return
            if from_html and element.space != HTML:
                return  # integration points are special elements: an end tag does not look past them


def _is_point(name: str, space: str, attributes: Callable[[], Mapping[str, Placed]], source: str) -> bool:
    if space == SVG:
        return name in _SVG_POINTS
    if name == "annotation-xml":
        encoding = attributes().get("encoding")
        return encoding is not None and source[encoding.start : encoding.end].lower() in _HTML_ENCODINGS
    return name in _MATH_POINTS

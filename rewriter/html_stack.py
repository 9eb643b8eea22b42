"""The stack of open elements, with its scopes, and the list of formatting elements (WHATWG HTML, 13.2.4.2, 13.2.4.3). Pure.

Where an element of a name, or of a kind, was opened last is known without a search, so that no nesting makes tags slow.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

HTML = "html"
SVG = "svg"
MATH = "math"

SPECIAL = frozenset(
    {
        "address", "applet", "area", "article", "aside", "base", "basefont", "bgsound", "blockquote", "body", "br", "button",
        "caption", "center", "col", "colgroup", "dd", "details", "dir", "div", "dl", "dt", "embed", "fieldset",
        "figcaption", "figure", "footer", "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header",
        "hgroup", "hr", "html", "iframe", "img", "input", "keygen", "li", "link", "listing", "main", "marquee", "menu",
        "meta", "nav", "noembed", "noframes", "noscript", "object", "ol", "p", "param", "plaintext", "pre", "script",
        "search", "section", "select", "source", "style", "summary", "table", "tbody", "td", "template", "textarea", "tfoot",
        "th", "thead", "title", "tr", "track", "ul", "wbr", "xmp",
    }
)  # fmt: skip
"""An end tag of another name does not look past these (WHATWG HTML, "special")."""

_BARRIERS = frozenset({"applet", "caption", "table", "td", "th", "marquee", "object", "select", "template"})
_FOREIGN_BARRIERS = frozenset(
    {(MATH, name) for name in ("mi", "mo", "mn", "ms", "mtext", "annotation-xml")}
    | {(SVG, name) for name in ("foreignobject", "desc", "title")}
)
"""Special, too, and the border of every scope but that of tables."""

_MODES = frozenset({"caption", "colgroup", "table", "tbody", "td", "template", "tfoot", "th", "thead", "tr"})


@dataclass(slots=True, eq=False)
class Element:
    """An open element, or one on the list of formatting elements, or both.

    point:  an integration point: HTML may stand inside
    key:    its attributes as spelt; two of one name and key count as alike ("Noah's Ark clause")
    mode:   of a template: in which mode its content is read
    place:  on the stack; -1: it isn't there
    listed: whether it stands on the list of formatting elements
    """

    name: str
    space: str = HTML
    point: bool = False
    key: str = ""
    mode: str = "template"
    place: int = -1
    listed: bool = False


class Stack:
    """The open elements but `html` and `body`, which are always there. Places count from the outermost; -1: none."""

    def __init__(self) -> None:
        self.elements: list[Element] = []
        self._named: dict[str, list[int]] = {}
        self._foreign_named: dict[str, list[int]] = {}
        self.html: list[int] = []
        self.foreign: list[int] = []
        self.special: list[int] = []
        self.barriers: list[int] = []
        self.list_barriers: list[int] = []
        self.button_barriers: list[int] = []
        self.table_barriers: list[int] = []
        self.item_stops: list[int] = []
        self.headings: list[int] = []
        self.modes: list[int] = []
        self._lists: dict[tuple[str, str], tuple[list[int], ...]] = {}

    @property
    def top(self) -> Element | None:
        return self.elements[-1] if self.elements else None

    def top_is(self, *names: str) -> bool:
        top = self.top
        return top is not None and top.space == HTML and top.name in names

    def push(self, element: Element) -> None:
        element.place = len(self.elements)
        self.elements.append(element)
        for places in self._lists_of(element):
            places.append(element.place)

    def pop(self) -> None:
        element = self.elements.pop()
        element.place = -1
        for places in self._lists_of(element):
            places.pop()

    def pop_from(self, place: int) -> None:
        """Pop the element at `place` and all inside it."""
        while len(self.elements) > place:
            self.pop()

    def replace_from(self, place: int, elements: list[Element]) -> None:
        self.pop_from(place)
        for element in elements:
            self.push(element)

    def last(self, name: str) -> int:
        """The innermost HTML element of this name."""
        return _last(self._named.get(name))

    def last_foreign(self, name: str) -> int:
        return _last(self._foreign_named.get(name))

    def in_scope(self, name: str, barriers: list[int] | None = None) -> bool:
        """Whether such an element is open and none of `barriers` (default: those of every scope) stands inside it."""
        place = self.last(name)
        return place >= 0 and place >= _last(self.barriers if barriers is None else barriers)

    def first_special_inside(self, place: int) -> int:
        index = bisect_right(self.special, place)
        return self.special[index] if index < len(self.special) else -1

    def _lists_of(self, element: Element) -> tuple[list[int], ...]:
        key = (element.space, element.name)
        lists = self._lists.get(key)
        if lists is None:
            lists = self._lists[key] = tuple(
                self._html_lists(element.name) if element.space == HTML else self._foreign_lists(*key)
            )
        return lists

    def _foreign_lists(self, space: str, name: str) -> list[list[int]]:
        lists = [self.foreign, self._foreign_named.setdefault(name, [])]
        if (space, name) in _FOREIGN_BARRIERS:
            lists += (self.special, self.barriers, self.list_barriers, self.button_barriers, self.item_stops)
        return lists

    def _html_lists(self, name: str) -> list[list[int]]:
        barrier = name in _BARRIERS
        belongs = (
            (self.special, name in SPECIAL),
            (self.barriers, barrier),
            (self.list_barriers, barrier or name in ("ol", "ul")),
            (self.button_barriers, barrier or name == "button"),
            (self.table_barriers, name in ("table", "template")),
            (self.item_stops, name in SPECIAL and name not in ("address", "div", "p")),
            (self.headings, name in ("h1", "h2", "h3", "h4", "h5", "h6")),
            (self.modes, name in _MODES),
        )
        return [self.html, self._named.setdefault(name, []), *(places for places, yes in belongs if yes)]


def _last(places: list[int] | None) -> int:
    return places[-1] if places else -1


class Formatting:
    """The list of active formatting elements; None is a marker."""

    def __init__(self) -> None:
        self.entries: list[Element | None] = []

    def mark(self) -> None:
        self.entries.append(None)

    def clear_to_mark(self) -> None:
        while self.entries:
            entry = self.entries.pop()
            if entry is None:
                return
            entry.listed = False

    def add(self, element: Element) -> None:
        """Noah's Ark clause: of those alike behind the last marker, three at most."""
        alike = [each for each in self._behind_mark() if each.name == element.name and each.key == element.key]
        if len(alike) >= 3:
            self.remove(alike[-1])
        element.listed = True
        self.entries.append(element)

    def last(self, name: str) -> Element | None:
        return next((each for each in self._behind_mark() if each.name == name), None)

    def remove(self, element: Element) -> None:
        self.entries.remove(element)
        element.listed = False

    def insert_behind(self, other: Element, element: Element) -> None:
        self.entries.insert(self.entries.index(other) + 1, element)
        element.listed = True

    def closed(self) -> list[Element]:
        """Those at the end of the list that are open no more, in their order."""
        found = []
        for entry in reversed(self.entries):
            if entry is None or entry.place >= 0:
                break
            found.append(entry)
        return found[::-1]

    def _behind_mark(self) -> list[Element]:
        """The innermost first."""
        found = []
        for entry in reversed(self.entries):
            if entry is None:
                break
            found.append(entry)
        return found

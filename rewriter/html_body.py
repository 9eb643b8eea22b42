"""How tags open and close elements in the body of an HTML document (WHATWG HTML, 13.2.6.4.7 "in body"). Pure.

Only which elements are open is followed: no node is made. `select` is read as browsers do since 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewriter.html_stack import MATH, SVG, Element, Formatting, Stack

VOID = frozenset(
    {
        "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "image", "img", "input", "keygen", "link",
        "meta", "param", "source", "track", "wbr",
    }
)  # fmt: skip
RAW = frozenset({"iframe", "noembed", "noframes", "plaintext", "script", "style", "textarea", "title", "xmp"})
FORMATTING = frozenset(
    {"a", "b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u"}
)
SECTIONS = frozenset({"tbody", "tfoot", "thead"})
CELLS = frozenset({"td", "th"})
TABLE_PARTS = SECTIONS | CELLS | {"caption", "col", "colgroup", "tr"}
NEVER_INSIDE = TABLE_PARTS | {"body", "frame", "frameset", "head", "html"}
"""Tags that, in the body and outside a table, mean nothing."""

QUIET = frozenset({"base", "basefont", "bgsound", "link", "meta", "param", "source", "track"})
"""Void elements before which no formatting element is opened again."""

PATIENCE = 300_000
"""Steps that one document's formatting elements may cost: their rules are not linear. Beyond, they are plain elements."""

_BLOCKS = frozenset(
    {
        "address", "article", "aside", "blockquote", "center", "details", "dialog", "dir", "div", "dl", "fieldset",
        "figcaption", "figure", "footer", "header", "hgroup", "listing", "main", "menu", "nav", "ol", "pre", "search",
        "section", "summary", "ul",
    }
)  # fmt: skip
_END_IN_SCOPE = _BLOCKS | {"button", "dd", "dt", "select"}
_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_CLOSE_P = _BLOCKS | _HEADINGS | {"p", "plaintext", "xmp", "table"}
_MARKED = frozenset({"applet", "marquee", "object"})
_IMPLIED = ("dd", "dt", "li", "optgroup", "option", "p", "rb", "rp", "rt", "rtc")


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag. `key`: its attributes as spelt; `closed`: whether it is self-closing, asked where that counts."""

    name: str
    key: str
    closed: Callable[[], bool]


class Body:
    """The open elements, tag by tag. `quirks`: a table does not close a paragraph."""

    def __init__(self) -> None:
        self.stack = Stack()
        self.quirks = True
        self._formatting = Formatting()
        self._form: Element | None = None
        self._patience = PATIENCE

    def _push(self, tag: Tag) -> Element:
        element = Element(tag.name, key=tag.key)
        self.stack.push(element)
        return element

    def _close(self, name: str) -> None:
        """Pop the innermost element of this name, which is open, and all inside it."""
        self.stack.pop_from(self.stack.last(name))

    def _close_in_scope(self, name: str, barriers: list[int] | None = None) -> bool:
        if not self.stack.in_scope(name, barriers):
            return False
        self._close(name)
        return True

    def _imply_ends(self, but: str = "") -> None:
        while self.stack.top_is(*_IMPLIED) and not self.stack.top_is(but):
            self.stack.pop()

    # Formatting elements

    @property
    def lost_patience(self) -> bool:
        return self._patience < 0

    def _spend(self, steps: int) -> bool:
        """Whether there is patience left."""
        self._patience -= steps
        if self._patience < 0:
            self._formatting = Formatting()
        return self._patience >= 0

    def _reopen(self) -> None:
        """ "Reconstruct the active formatting elements"."""
        entries = self._formatting.entries
        if not entries or entries[-1] is None or entries[-1].place >= 0:
            return
        closed = self._formatting.closed()
        if self._spend(len(closed)):
            for element in closed:
                self.stack.push(element)

    def _remove(self, element: Element) -> None:
        """Take an element off the stack, wherever it stands."""
        inside = self.stack.elements[element.place + 1 :]
        if self._spend(len(inside)):
            self.stack.replace_from(element.place, inside)

    def _start_formatting(self, tag: Tag) -> None:
        if tag.name == "a":
            self._close_anchor()
        self._reopen()
        if tag.name == "nobr" and self.stack.in_scope("nobr"):
            self._adopt("nobr")
            self._reopen()
        element = self._push(tag)
        if self._spend(len(self._formatting.entries)):
            self._formatting.add(element)

    def _close_anchor(self) -> None:
        anchor = self._formatting.last("a")
        if anchor is None:
            return
        self._adopt("a")
        if anchor.listed:
            self._formatting.remove(anchor)
        if anchor.place >= 0:
            self._remove(anchor)

    def _adopt(self, name: str) -> None:
        """The adoption agency algorithm."""
        top = self.stack.top
        if top is not None and self.stack.top_is(name) and not top.listed:
            self.stack.pop()
            return
        for _ in range(8):
            element = self._formatting.last(name)
            if element is None or not self._spend(len(self._formatting.entries)):
                self._end_other(name)
                return
            if element.place < 0:
                self._formatting.remove(element)
                return
            if self.stack.barriers and self.stack.barriers[-1] > element.place:
                return
            block = self.stack.first_special_inside(element.place)
            if block < 0:
                self.stack.pop_from(element.place)
                self._formatting.remove(element)
                return
            self._move_into(element, block)

    def _move_into(self, element: Element, block: int) -> None:
        """Put a formatting element inside the block at `block`; of those between, the three next to it stay."""
        between = self.stack.elements[element.place + 1 : block]
        inside = self.stack.elements[block:]
        if not self._spend(len(between) + len(inside)):
            return
        for node in between[:-3]:
            if node.listed:
                self._formatting.remove(node)
        kept = [node for node in between if node.listed]
        if kept:
            self._formatting.remove(element)
            self._formatting.insert_behind(kept[-1], element)
        self.stack.replace_from(element.place, [*kept, inside[0], element, *inside[1:]])

    # "In body"

    def _start_in_body(self, tag: Tag) -> None:
        name = tag.name
        if name in NEVER_INSIDE:
            return
        if name in FORMATTING:
            self._start_formatting(tag)
        elif name in VOID:
            self._start_void(name)
        elif name in _CLOSE_P:
            self._start_block(tag)
        elif rule := _START.get(name):
            rule(self, tag)
        elif name in RAW:
            self._push(tag)
        else:
            self._reopen()
            self._push_any(tag)

    def _push_any(self, tag: Tag) -> None:
        if tag.name not in (SVG, MATH):
            self._push(tag)
        elif not tag.closed():
            self.stack.push(Element(tag.name, tag.name))
        if tag.name in _MARKED:
            self._formatting.mark()

    def _start_void(self, name: str) -> None:
        stack = self.stack
        if name == "hr":
            self._close_in_scope("p", stack.button_barriers)
            if stack.in_scope("select"):
                self._imply_ends()
        elif name not in QUIET:
            if name == "input":
                self._close_in_scope("select")
            self._reopen()

    def _start_block(self, tag: Tag) -> None:
        if tag.name != "table" or not self.quirks:
            self._close_in_scope("p", self.stack.button_barriers)
        if tag.name in _HEADINGS and self.stack.top_is(*_HEADINGS):
            self.stack.pop()
        if tag.name == "xmp":
            self._reopen()
        self._push(tag)

    def _start_form(self, tag: Tag) -> None:
        in_template = self.stack.last("template") >= 0
        if self._form is not None and not in_template:
            return
        self._close_in_scope("p", self.stack.button_barriers)
        element = self._push(tag)
        if not in_template:
            self._form = element

    def _start_item(self, tag: Tag) -> None:
        """`li`, `dd`, `dt`: closes the one before, if no special element but `address`, `div` and `p` stands between."""
        places = [self.stack.last(name) for name in (("li",) if tag.name == "li" else ("dd", "dt"))]
        stops = self.stack.item_stops
        if max(places) >= 0 and stops[-1] <= max(places):
            self.stack.pop_from(max(places))
        self._close_in_scope("p", self.stack.button_barriers)
        self._push(tag)

    def _start_button(self, tag: Tag) -> None:
        self._close_in_scope("button")
        self._reopen()
        self._push(tag)

    def _start_select(self, tag: Tag) -> None:
        if not self._close_in_scope("select"):
            self._reopen()
            self._push(tag)

    def _start_option(self, tag: Tag) -> None:
        if self.stack.in_scope("select"):
            self._imply_ends("optgroup" if tag.name == "option" else "")
        elif self.stack.top_is("option"):
            self.stack.pop()
        self._reopen()
        self._push(tag)

    def _start_ruby(self, tag: Tag) -> None:
        if self.stack.in_scope("ruby"):
            self._imply_ends("rtc" if tag.name in ("rp", "rt") else "")
        self._push(tag)

    def _end_in_body(self, name: str) -> None:
        stack = self.stack
        if name in FORMATTING:
            self._adopt(name)
        elif name in _END_IN_SCOPE:
            self._close_in_scope(name)
        elif name in _MARKED:
            if self._close_in_scope(name):
                self._formatting.clear_to_mark()
        elif name == "p":
            self._close_in_scope("p", stack.button_barriers)
        elif name == "li":
            self._close_in_scope("li", stack.list_barriers)
        elif name in _HEADINGS:
            if stack.headings and (not stack.barriers or stack.barriers[-1] < stack.headings[-1]):
                stack.pop_from(stack.headings[-1])
        elif name == "form":
            self._end_form()
        elif name == "br":
            self._reopen()
        elif name not in ("body", "html"):
            self._end_other(name)

    def _end_other(self, name: str) -> None:
        place = self.stack.last(name)
        if place >= 0 and (not self.stack.special or place >= self.stack.special[-1]):
            self.stack.pop_from(place)

    def _end_form(self) -> None:
        if self.stack.last("template") >= 0:
            self._close_in_scope("form")
            return
        form, self._form = self._form, None
        if form is None or form.place < 0 or (self.stack.barriers and self.stack.barriers[-1] > form.place):
            return
        self._imply_ends()
        if form.place >= 0:
            self._remove(form)


_START: Mapping[str, Callable[[Body, Tag], None]] = {
    "button": Body._start_button,
    "dd": Body._start_item,
    "dt": Body._start_item,
    "form": Body._start_form,
    "li": Body._start_item,
    "optgroup": Body._start_option,
    "option": Body._start_option,
    "rb": Body._start_ruby,
    "rp": Body._start_ruby,
    "rt": Body._start_ruby,
    "rtc": Body._start_ruby,
    "select": Body._start_select,
}
"""Elements with a rule of their own."""

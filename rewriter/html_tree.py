"""Which elements are open in an HTML document, tag by tag: head, body, tables, templates (WHATWG HTML, 13.2.6.4). Pure.

The mode ("insertion mode") is told by the open elements. That a table moves its content out before itself does not matter:
no node is made. Framesets are not followed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from rewriter.html_body import CELLS, NEVER_INSIDE, QUIET, RAW, SECTIONS, TABLE_PARTS, Body, Tag
from rewriter.html_stack import Element

_IN_HEAD = (QUIET - {"param", "source", "track"}) | {
    "head", "html", "noframes", "noscript", "script", "style", "template", "title",
}  # fmt: skip
_IN_HEAD_NOSCRIPT = frozenset({"basefont", "bgsound", "head", "html", "link", "meta", "noframes", "noscript", "style"})
_RAW_IN_HEAD = RAW & _IN_HEAD

_MODE = {"th": "td", "thead": "tbody", "tfoot": "tbody"}
"""Element → mode, where the mode is not named like it. Modes: table, caption, colgroup, tbody, tr, td, template, body."""

_TEMPLATE_MODE = dict.fromkeys(("caption", "colgroup", *SECTIONS), "table") | {
    "col": "colgroup", "tr": "tbody", "td": "tr", "th": "tr",
}  # fmt: skip
"""Start tag → the mode that it puts a template in; any other that is no head element: body."""

_IGNORED_END = {
    "table": NEVER_INSIDE,
    "caption": NEVER_INSIDE - {"caption"},
    "tbody": NEVER_INSIDE - SECTIONS,
    "tr": NEVER_INSIDE - SECTIONS - {"tr"},
    "td": frozenset({"body", "caption", "col", "colgroup", "html"}),
}
"""Mode → end tags without effect."""

_SPACE = "\t\n\f\r "


_DOCTYPE = re.compile(
    r"<!doctype[\t\n\f\r ]*html[\t\n\f\r ]*(?:(?:public[\t\n\f\r ]*(?P<public>\"[^\">]*\"|'[^'>]*')|system)"
    r"[\t\n\f\r ]*(?P<system>\"[^\">]*\"|'[^'>]*')?[\t\n\f\r ]*)?>",
    re.IGNORECASE,
)
_OLD = re.compile(
    r"(?:\+//silmaril//dtd html pro v0r11|-//(?:as|advasoft ltd|ietf|microsoft|mozilla|netscape|o'reilly|softquad|spyglass|sq|sun"
    r"|webtechs|w3o|metrius)[^/]*//dtd |-//w3c//dtd (?:html (?!4)|html 4\.0 (?:frameset|transitional)|w3 html|html experimental)"
    r"|-//w3o//|html$|-/w3c/dtd html 4\.0 transitional/en|-//w3d//dtd)",
    re.IGNORECASE,
)
_LESS_OLD = re.compile(r"-//w3c//dtd html 4\.01 (?:frameset|transitional)//", re.IGNORECASE)


def _is_quirky(doctype: str) -> bool:
    """Whether a document type puts browsers into quirks mode (WHATWG HTML, "initial"; its list of old ones, in short)."""
    found = _DOCTYPE.match(doctype)
    if found is None:
        return True
    public, system = ((found.group(name) or "")[1:-1] for name in ("public", "system"))
    if _OLD.match(public) or system.lower() == "http://www.ibm.com/data/dtd/v11/ibmxhtml1-transitional.dtd":
        return True
    return found.group("system") is None and _LESS_OLD.match(public) is not None


class Tree(Body):
    """The open elements of one document."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = False  # a doctype counts no more
        self._phase = 0  # 0 in the head or before it, 1 behind it, 2 in the body

    def doctype(self, spelt: str) -> None:
        """Take in a document type, or a comment. A second one, or one behind tags or text, means nothing."""
        if not self._begun and spelt[:9].lower() == "<!doctype":
            self._begun = True
            self.quirks = _is_quirky(spelt)

    def _mode(self) -> str:
        if not self.stack.modes:
            return "body"
        element = self.stack.elements[self.stack.modes[-1]]
        return element.mode if element.name == "template" else _MODE.get(element.name, element.name)

    def start(self, tag: Tag) -> None:
        """Take in a start tag that is read as HTML, `svg` and `math` among them."""
        self._begun = True
        if self._phase < 2 and not self.stack.modes and self._is_in_head(tag.name):
            return
        if tag.name == "template":
            self._push(tag)
            self._formatting.mark()
        elif tag.name in _RAW_IN_HEAD:
            self._push(tag)
        else:
            _START.get(self._mode(), Tree._start_in_body)(self, tag)

    def end(self, name: str) -> None:
        """Take in an end tag that is read as HTML."""
        self._begun = True
        if self.stack.top_is(name) and name in RAW:
            self.stack.pop()
        elif name == "template":
            self._end_template()
        elif self._phase < 2 and not self.stack.modes:
            self._end_in_head(name)
        else:
            mode = self._mode()
            if name not in _IGNORED_END.get(mode, ()):
                _END.get(mode, Tree._end_in_body)(self, name)

    def text(self, text: str) -> None:
        """Take in text that is read as HTML."""
        text = text.strip("\0")
        is_space = not text.strip(_SPACE)
        if not text or (is_space and self._phase < 2):
            return
        self._begun = True
        if self._phase < 2 and not self.stack.modes:
            self._begin_body()
        mode = self._mode()
        if mode == "colgroup" and not is_space and self.stack.top_is("colgroup"):
            self.stack.pop()
        if not is_space or mode in ("body", "td", "caption", "template"):
            self._reopen()

    # The head

    def _is_in_head(self, name: str) -> bool:
        """Whether a start tag stands in the head, and has been dealt with."""
        if self.stack.top_is("noscript"):
            if name in _IN_HEAD_NOSCRIPT:
                return name not in RAW
            self.stack.pop()
        if name not in _IN_HEAD or (name == "noscript" and self._phase == 1):
            self._begin_body()
            return False
        if name == "noscript":
            self.stack.push(Element(name))
        return name not in RAW and name != "template"

    def _end_in_head(self, name: str) -> None:
        if name == "noscript" and self.stack.top_is(name):
            self.stack.pop()
        elif name == "head" and not self.stack.elements:
            self._phase = 1
        elif name == "br" or (name in ("body", "html") and not self.stack.elements):
            self._begin_body()

    def _begin_body(self) -> None:
        self.stack.pop_from(0)
        self._phase = 2

    def _end_template(self) -> None:
        if self.stack.last("template") >= 0:
            self._close("template")
            self._formatting.clear_to_mark()

    # Tables

    def _clear_back_to(self, *names: str) -> None:
        """ "Clear the stack back to a table (table body, table row) context"."""
        place = max(self.stack.last(name) for name in (*names, "template"))
        self.stack.pop_from(place + 1)

    def _start_in_table(self, tag: Tag) -> None:
        name = tag.name
        if name == "table":
            if self._close_in_scope("table", self.stack.table_barriers):
                self.start(tag)
        elif name in CELLS or name in ("tr", "col"):
            self._clear_back_to("table")
            self.stack.push(Element("colgroup" if name == "col" else "tbody"))
            self.start(tag)
        elif name in TABLE_PARTS:
            self._clear_back_to("table")
            self._push(tag)
            if name == "caption":
                self._formatting.mark()
        elif name == "form":
            if self._form is None and self.stack.last("template") < 0:
                self._form = Element("form")
        else:
            self._start_in_body(tag)

    def _start_in_section(self, tag: Tag) -> None:
        if tag.name == "tr":
            self._clear_back_to(*SECTIONS)
            self._push(tag)
        elif tag.name in CELLS:
            self._clear_back_to(*SECTIONS)
            self.stack.push(Element("tr"))
            self.start(tag)
        elif tag.name in TABLE_PARTS:
            if self._leave_section():
                self.start(tag)
        else:
            self._start_in_table(tag)

    def _leave_section(self) -> bool:
        """Whether there was a section to be left."""
        if not any(self.stack.in_scope(name, self.stack.table_barriers) for name in SECTIONS):
            return False
        self._clear_back_to(*SECTIONS)
        self.stack.pop()
        return True

    def _start_in_row(self, tag: Tag) -> None:
        if tag.name in CELLS:
            self._clear_back_to("tr")
            self._push(tag)
            self._formatting.mark()
        elif tag.name in TABLE_PARTS:
            if self._close_in_scope("tr", self.stack.table_barriers):
                self.start(tag)
        else:
            self._start_in_table(tag)

    def _start_in_cell(self, tag: Tag) -> None:
        if tag.name in TABLE_PARTS:
            self._close_cell()
            self.start(tag)
        else:
            self._start_in_body(tag)

    def _close_cell(self) -> None:
        """The cell that the mode is named after is open."""
        self.stack.pop_from(max(self.stack.last("td"), self.stack.last("th")))
        self._formatting.clear_to_mark()

    def _start_in_caption(self, tag: Tag) -> None:
        if tag.name not in TABLE_PARTS:
            self._start_in_body(tag)
        elif self._close_caption():
            self.start(tag)

    def _close_caption(self) -> bool:
        closed = self._close_in_scope("caption", self.stack.table_barriers)
        if closed:
            self._formatting.clear_to_mark()
        return closed

    def _start_in_colgroup(self, tag: Tag) -> None:
        if tag.name != "col" and self.stack.top_is("colgroup"):
            self.stack.pop()
            self.start(tag)

    def _start_in_template(self, tag: Tag) -> None:
        if tag.name in _IN_HEAD - {"head", "html", "noscript"}:
            return
        self.stack.elements[self.stack.last("template")].mode = _TEMPLATE_MODE.get(tag.name, "body")
        self.start(tag)

    def _end_in_table(self, name: str) -> None:
        if name == "table":
            self._close_in_scope("table", self.stack.table_barriers)
        else:
            self._end_in_body(name)

    def _end_in_section(self, name: str) -> None:
        if name in SECTIONS:
            if self.stack.in_scope(name, self.stack.table_barriers):
                self._clear_back_to(*SECTIONS)
                self.stack.pop()
        elif name == "table":
            if self._leave_section():
                self.end(name)
        else:
            self._end_in_body(name)

    def _end_in_row(self, name: str) -> None:
        barriers = self.stack.table_barriers
        if name == "tr":
            self._close_in_scope("tr", barriers)
        elif name == "table" or name in SECTIONS:
            if (name == "table" or self.stack.in_scope(name, barriers)) and self._close_in_scope("tr", barriers):
                self.end(name)
        else:
            self._end_in_body(name)

    def _end_in_cell(self, name: str) -> None:
        barriers = self.stack.table_barriers
        if name in CELLS:
            if self._close_in_scope(name, barriers):
                self._formatting.clear_to_mark()
        elif name in SECTIONS or name in ("table", "tr"):
            if self.stack.in_scope(name, barriers):
                self._close_cell()
                self.end(name)
        else:
            self._end_in_body(name)

    def _end_in_caption(self, name: str) -> None:
        if name in ("caption", "table"):
            if self._close_caption() and name == "table":
                self.end(name)
        else:
            self._end_in_body(name)

    def _end_in_colgroup(self, name: str) -> None:
        if name != "col" and self.stack.top_is("colgroup"):
            self.stack.pop()
            if name != "colgroup":
                self.end(name)


_START: Mapping[str, Callable[[Tree, Tag], None]] = {
    "caption": Tree._start_in_caption,
    "colgroup": Tree._start_in_colgroup,
    "table": Tree._start_in_table,
    "tbody": Tree._start_in_section,
    "td": Tree._start_in_cell,
    "template": Tree._start_in_template,
    "tr": Tree._start_in_row,
}
_END: Mapping[str, Callable[[Tree, str], None]] = {
    "caption": Tree._end_in_caption,
    "colgroup": Tree._end_in_colgroup,
    "table": Tree._end_in_table,
    "tbody": Tree._end_in_section,
    "td": Tree._end_in_cell,
    "template": lambda tree, name: None,
    "tr": Tree._end_in_row,
}

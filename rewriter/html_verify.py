"""Proof of the output: another parser looks for navigable foreign http(s) targets. Pure; it finds them without the scan.

The first judge is lexbor (WHATWG-conformant, in C). Where it finds something, html5lib, thorough and slow, is asked too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator

from bs4 import BeautifulSoup, Tag
from selectolax.lexbor import LexborHTMLParser, LexborNode

from rewriter.html_cost import is_affordable, is_cheap
from toc.errors import BadUrl, TooLarge
from toc.url import serialise

_ELEMENTS = (
    "a", "area", "form", "button", "input", "iframe", "frame", "embed", "object", "applet", "portal", "meta",
)  # fmt: skip
_MOVING = ("set", "animate")
_POINTS = {
    "svg": frozenset({"foreignObject", "desc", "title"}),
    "math": frozenset({"annotation-xml", "mi", "mo", "mn", "ms", "mtext"}),
}
"""Integration points, in which HTML stands again."""
MAX_CLIMB = 200
_SOURCES = frozenset({"iframe", "frame", "embed", "portal"})
_TEMPLATE = re.compile(r"(</?)(?=template)", re.IGNORECASE)
_CONDITIONAL = re.compile(r"<!--\[if[^\]>]*+\]>(.*?)(?:<!\[endif\]-->|-->|\Z)", re.IGNORECASE | re.DOTALL)
_NAMED = re.compile(
    f"<(/|{'|'.join(sorted((*_ELEMENTS, 'base', 'math', 'svg', 'template', 'v:'), key=len, reverse=True))})"
)
"""What a source can hold at all, in lower case, and end tags: to look once is cheaper than to ask the tree for each element."""
_WIDE = r"[\t-\r \u1680\u2000-\u200a\u2028\u205f\u3000]*"
_REFRESH = re.compile(
    rf"{_WIDE}(?:[0-9][0-9.]*|\.[0-9.]*)[\v\u1680\u2000-\u200a\u2028\u205f\u3000]*(?:[;,]|[\t\n\f\r ]+[;,]?)"
    rf"[\t\n\f\r ]*(?:url[\t\n\f\r ]*=[\t\n\f\r ]*)?(?:'{_WIDE}([^']*)|\"{_WIDE}([^\"]*)|{_WIDE}(.*))",
    re.IGNORECASE | re.DOTALL,
)

_HOST_ONLY = re.compile(r"[\x00-\x20]*[/\\][\t\n\r]*[/\\]")

_SVG = "http://www.w3.org/2000/svg"
_MATHML = "http://www.w3.org/1998/Math/MathML"

Values = Iterable[tuple[str, str, str]]
"""(element, attribute, value)"""


def foreign_left(html: str, allowed: Container[str], values: Callable[[str], Values]) -> list[str]:
    """Navigable http(s) values in `html` that are not `allowed`, as spelt, without repetition.

    allowed: absolute URLs, each as it was written or as a browser serialises it
    """
    found: dict[str, None] = {}
    base: str | None = None
    for element, attribute, value in values(html):
        if element == "base":
            base = _absolute(value, "https://page.example/")
            base = None if base and base.startswith("https://page.example/") else base
        elif value not in allowed and value not in found and not _is_fine(attribute, value, base, allowed):
            found[value] = None
    return list(found)


def _is_fine(attribute: str, value: str, base: str | None, allowed: Container[str]) -> bool:
    if attribute == "content":
        match = _REFRESH.match(value)
        value = "".join(match.groups("")) if match else ""
        if not value or value in allowed:
            return True
    href = _absolute(value, base)
    return href is None or not href.startswith(("http:", "https:")) or href in allowed


def _absolute(value: str, base: str | None) -> str | None:
    if base is None and _HOST_ONLY.match(value):
        base = "https://page.example/"  # wherever the mail is shown, this leads away
    try:
        return serialise(value, base)
    except BadUrl:
        return None


def by_lexbor(html: str) -> Iterator[tuple[str, str, str]]:
    """What lexbor sees, inside conditional comments too, and in templates as if they were ordinary elements.

    Raises TooLarge where that would cost more than its length explains (`rewriter.html_cost`).
    """
    yield from _lexbor_document(html)
    if "[" in html:  # a search for one character costs nothing, for more of them a tenth of the parse
        for comment in _CONDITIONAL.finditer(html):
            if not comment.group(1).startswith("<!-->"):
                yield from _lexbor_document(comment.group(1))


def _lexbor_document(html: str) -> Iterator[tuple[str, str, str]]:
    """The base comes first."""
    marks = _NAMED.findall(html.lower())
    if not is_affordable(html, marks.count("/")):
        raise TooLarge("more than a parser can make a tree of")
    named = frozenset(marks)
    tree = LexborHTMLParser(html)
    if "base" in named:
        base = next((node for node in tree.tags("base") if "href" in node.attributes and _space(node) == "html"), None)
        if base is not None:
            yield "base", "href", base.attributes["href"] or ""
    if "template" in named:
        yield from _lexbor_document(_TEMPLATE.sub(r"\1x-", html))
    nodes = [node for name in _ELEMENTS if name in named for node in tree.tags(name)]  # faster than one selector of all
    if "math" in named:
        for node in tree.css("[href], [xlink\\:href]"):
            if _space(node) == "math":
                yield from _navigable(f"math:{node.tag}", _attributes(node))
    if "svg" in named:
        nodes += [node for name in _MOVING for node in tree.tags(name) if _space(node) == "svg"]
    if "v:" in named:
        nodes += tree.css("[href]")
    for node in nodes:
        yield from _navigable(node.tag or "", _attributes(node))


def _attributes(node: LexborNode) -> dict[str, str]:
    return {key: value or "" for key, value in node.attributes.items()}


def _space(node: LexborNode) -> str:
    """``html``, ``svg`` or ``math``, by the elements around; a very deep one counts for what is next to it."""
    around: list[str] = []
    parent = node.parent
    while parent is not None and len(around) < MAX_CLIMB:
        around.append(parent.tag or "")
        parent = parent.parent
    space = "html"
    for name in reversed(around):
        if space == "html" and name in _POINTS:
            space = name
        elif name in _POINTS.get(space, ()):
            space = "html"
    return space


def by_html5lib(html: str) -> Iterator[tuple[str, str, str]]:
    """What BeautifulSoup over html5lib sees; the base comes first. Raises TooLarge where that would take too long."""
    if not is_cheap(html):
        raise TooLarge("more than a slow parser can make a tree of")
    soup = BeautifulSoup(html, "html5lib")
    base = soup.find("base", href=True)
    if isinstance(base, Tag):
        yield "base", "href", str(base["href"])
    for node in soup.find_all(True):
        if isinstance(node, Tag):
            if node.name in _MOVING and node.namespace != _SVG:
                continue
            found = {key: str(value) for key, value in node.attrs.items()}
            yield from _navigable(node.name if node.namespace != _MATHML else f"math:{node.name}", found)


def _navigable(name: str, found: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """The table once more, written apart from that of the scan: a fault in one is seen by the other."""
    local = name.rpartition(":")[2]
    if local in ("a", "area") or name.startswith("math:"):
        wanted: tuple[str, ...] = ("href", "xlink:href")
    elif local == "form":
        wanted = ("action",)
    elif local in ("button", "input"):
        wanted = ("formaction",)
    elif local in _SOURCES:
        wanted = ("src",)
    elif local == "object":
        wanted = ("data",)
    elif local == "applet":
        wanted = ("codebase",)
    elif local == "meta":
        wanted = ("content",) if found.get("http-equiv", "").lower() == "refresh" else ()
    elif local in ("set", "animate"):
        wanted = (
            ("to", "from", "by", "values")
            if "href" in found.get("attributename", "").lower() + found.get("attributeName", "").lower()
            else ()
        )
    elif local in ("link", "base", "image", "use", "img", "script"):
        wanted = ()
    else:
        wanted = ("href", "xlink:href") if ":" in name else ()
    for attribute in wanted:
        if attribute in found:
            for value in found[attribute].split(";") if attribute == "values" else (found[attribute],):
                yield name, attribute, value

"""Plain documents: a cheap way to know that a parser's tree is no deeper than the tags are nested.

Invariants, over random documents: where the answer is yes, our tree and lexbor's are at most twice as deep as the tags, and no
element is opened twice. One tag that closes, moves or hides another makes the answer no.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from selectolax.lexbor import LexborHTMLParser, LexborNode

from rewriter.html_foreign import OpenElements
from rewriter.html_plain import is_plain
from rewriter.html_scan import Kind, scan, tell

LIMIT = 500
DOCUMENTS = 400_000 if os.environ.get("TOC_LONG") == "1" else 20_000
NAMES = (
    "p", "div", "span", "b", "i", "font", "a", "u", "h1", "h2", "ul", "ol", "li", "center", "blockquote", "o:p", "svg", "g",
    "path", "P", "B", "table", "tr", "td", "th", "tbody", "colgroup", "col", "br", "hr", "img", "style", "title", "meta", "body",
    "head",
    "html", "button", "form", "nobr", "desc", "math", "mi", "template", "object", "select", "x-y", "dd", "script", "caption",
)  # fmt: skip
INSIDE = {
    "table": ("tr", "tr", "tbody", "colgroup", "td", "b"),
    "tbody": ("tr",),
    "tr": ("td", "th", "td", "p"),
    "ul": ("li", "li", "b"),
    "svg": ("g", "path", "g", "style", "p", "title"),
    "g": ("path", "g", "b"),
    "colgroup": ("col",),
}
CHILDLESS = ("br", "hr", "img", "col", "meta")
ODD = ("/", " x=/", " =", " '", " x=a'b", "/x")
BETWEEN = ("", "", "x", " ", "<!-- x -->", "<!--<b>-->", "<?x?>", "<!doctype html>", "<!x", "<!-->")


def element(rng: random.Random, within: str, depth: int) -> str:
    name = (
        rng.choice(INSIDE[within])
        if within in INSIDE and rng.random() < 0.95
        else rng.choice(NAMES[: rng.choice((20, 20, 60))])
    )
    attributes = rng.choice(ODD if rng.random() < 0.05 else ("", "", " x", " x=1", " x='>'", ' x="<b>" y'))
    if name in CHILDLESS:
        return f"<{name}{attributes}>"
    if name in ("path", "g") and rng.random() < 0.5:
        return f"<{name}{attributes}/>"
    children = rng.choice((0, 1, 1, 2, 3)) if depth < 8 else 0
    inside = "".join(
        rng.choice(BETWEEN[:4] if rng.random() < 0.9 else BETWEEN) + element(rng, name.lower(), depth + 1)
        for _ in range(children)
    )
    return f"<{name}{attributes}>{inside}" + (f"</{name}>" if rng.random() < 0.98 else rng.choice(("", "</b>", "</p>")))


def document(rng: random.Random) -> str:
    return "".join(element(rng, "", 0) for _ in range(rng.choice((1, 2, 3))))


def followed(source: str) -> tuple[int, Counter[str]]:
    """Elements open at once but `html` and `body`, as we follow them, and the start tags of each name."""
    elements = OpenElements()
    most, names = 0, Counter[str]()
    for token in scan(source, stretches=False):
        tell(elements, source, token)
        most = max(most, elements.depth)
        names[token.name] += token.kind is Kind.START
    return most, names


def walked(node: LexborNode | None) -> tuple[int, Counter[str]]:
    """How deep lexbor's tree is, and how many elements of each name it has."""
    most, names = 0, Counter[str]()
    rest = [(node, 0)]
    while rest:
        node, depth = rest.pop()
        most = max(most, depth)
        child = node.child if node is not None else None
        while child is not None:
            if child.tag and child.tag[0] not in "-!":
                names[child.tag.lower()] += 1
                rest.append((child, depth + 1))
            child = child.next
    return most, names


def nested(source: str) -> int:
    return next(limit for limit in range(LIMIT) if is_plain(source, limit))


def test_no_tree_is_deeper_than_its_tags_say() -> None:
    rng = random.Random(1)
    plain = 0
    for _ in range(DOCUMENTS):
        source = document(rng)
        if not is_plain(source, LIMIT):
            continue
        plain += 1
        depth = nested(source)
        deepest, tags = followed(source)
        assert deepest <= 2 * depth, source
        most, names = walked(LexborHTMLParser(source).root)
        assert most <= 2 * depth + 2, source
        for name, count in names.items():
            if name not in ("html", "head", "body", "tbody", "colgroup"):  # these are implied
                assert count <= tags[name], (name, source)
    assert plain > DOCUMENTS / 20


PLAIN = {
    "a table": "<table><tr><td>1<td></tr></table>".replace("<td></tr>", "</td></tr>"),
    "a drawing": "<svg><g><path d='M0'/><circle r=1 /><title>x</title></g></svg>",
    "a paragraph of Word's": "<p class=MsoNormal><span style='x'>x<o:p></o:p></span></p>",
    "a style sheet in a comment": "<style><!-- p {x} --></style><p>x</p>",
    "a whole document": "<!DOCTYPE html><html><head><meta charset=utf-8><title>x</title></head><body><p>x<br></p></body></html>",
}
NOT_PLAIN = {
    "a cell left open": "<table><tr><td>1<td>2</tr></table>",
    "a paragraph in another": "<p><span><p>x</p></span></p>",
    "a list in a paragraph": "<p><b><ul></ul></b></p>",
    "a heading in another": "<h1><h2></h2></h1>",
    "a link in another": "<a><b><a></a></b></a>",
    "formatting crossed": "<b><i></b></i>",
    "something that a table moves out": "<table><b></b></table>",
    "a table in a paragraph": "<p><table></table></p>",
    "HTML that ends a drawing": "<svg><p></p></svg>",
    "an integration point": "<svg><desc><b></b></desc></svg>",
    "raw text that holds a tag": "<style><b></style></b>",
    "a comment that would hide one": "<style><!-- </style><b> --></style>",
    "a comment in another way": "<title><!x </title></b> ></title>",
    "raw text of another kind": "<script></script>",
    "a comment that ends oddly": "<!-- --!><b> -->",
    "character data": "<svg><![CDATA[<b>]]></svg>",
    "an attribute with a quote": "<p x='y'z='>'></p>",
    "an unclosed tag": "<p",
    "an element of a letter that is one in lower case only": "<lin\u212a>",
    "nested too deep": "<div>" * 501,
}


@pytest.mark.parametrize("source", PLAIN.values(), ids=PLAIN.keys())
def test_plain(source: str) -> None:
    assert is_plain(source, LIMIT)


@pytest.mark.parametrize("source", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_not_plain(source: str) -> None:
    assert not is_plain(source, LIMIT)

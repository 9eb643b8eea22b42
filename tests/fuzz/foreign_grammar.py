"""HTML documents for the fuzz of foreign content: whether raw text begins at its end depends on which elements are open.

Every document ends in a trap: a tag that is raw text for HTML and markup inside SVG and MathML, or a CDATA section, and
behind it links that only one of the two readings shows.
"""

from __future__ import annotations

import random

_POINTS = (
    "<svg><desc>", "<svg><foreignObject>", "<svg><title>", "<math><mi>", "<math><mtext>", "<math><mo>",
    "<math><annotation-xml encoding=text/html>", "<math><annotation-xml>", "<svg>", "<math>", "<svg><g>",
    "<math><annotation-xml encoding='application/xhtml+xml'>", "<math><annotation-xml><svg><desc>",
)  # fmt: skip
_ENDS = (
    "svg", "math", "desc", "foreignObject", "title", "mi", "mtext", "mo", "annotation-xml", "g",
)  # fmt: skip
_HTML = (
    "p", "li", "ul", "ol", "dd", "dt", "dl", "h1", "h2", "button", "a", "nobr", "b", "i", "font", "div", "form", "span",
    "option", "optgroup", "select", "ruby", "rt", "rp", "rb", "rtc", "table", "tbody", "tr", "td", "th", "caption",
    "colgroup", "col", "thead", "template", "applet", "object", "marquee", "address", "center", "pre", "code", "em",
    "br", "hr", "input", "img", "body", "html", "head", "noscript", "x-y", "main", "fieldset", "search", "summary", "u",
    "b class=x", "a name=y", "image", "area", "wbr", "param", "listing",
)  # fmt: skip
_RARE = (
    "svg",
    "math",
    "g",
    "mglyph",
    "malignmark",
    "font color=x",
    "desc",
    "mi",
    "title",
    "svg/",
    "math/",
    "annotation-xml",
)
_TOGETHER = (
    "p table",
    "b p",
    "li ul",
    "a div",
    "nobr p",
    "form div",
    "button p",
    "table td",
    "ruby rt",
    "select option",
)
_TRAPS = ("style", "title", "xmp", "noembed", "noframes", "iframe", "textarea", "script")
_LINK = "<a href=http://evil.example/{}>x</a>"
_SWALLOWS = ("", "<!--", "<b title='", "<!--")


def _tag(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.12:
        return rng.choice(_POINTS)
    if kind < 0.3:
        return f"</{rng.choice(_ENDS)}>"
    if kind < 0.36:
        return f"<{rng.choice(_RARE)}>"
    if kind < 0.42:
        return rng.choice(("x", " ", "\n", "<!-- -->"))
    name = rng.choice(_HTML)
    return f"</{name.split()[0]}>" if rng.random() < 0.4 else f"<{name}>"


def _trap(rng: random.Random) -> str:
    name = rng.choice(_TRAPS)
    if rng.random() < 0.15:
        return "<![CDATA[" + _LINK.format("c") + rng.choice(("]]>", ">", ""))
    end = rng.choice((f"</{name}>", ""))
    return f"<{name}>" + rng.choice(_SWALLOWS) + _LINK.format("in") + end


def _few(rng: random.Random) -> list[str]:
    """A document of one integration point and few names, which meet more often than by chance."""
    names = (
        rng.choice(_TOGETHER).split()
        if rng.random() < 0.4
        else [rng.choice(_HTML) for _ in range(rng.choice((1, 2, 3)))]
    )
    point = rng.choice(_POINTS)
    end = f"</{point.rpartition('<')[2].split()[0].strip('>')}>"
    pieces = [f"<{name}>" for name in names] + [f"</{name.split()[0]}>" for name in names]
    outside = [rng.choice(pieces) for _ in range(rng.choice((0, 0, 1, 2)))]
    inside = [rng.choice((*pieces, "x", end)) for _ in range(rng.choice((2, 3, 4, 6)))]
    return [*outside, point, *inside, end]


def foreign_document(rng: random.Random) -> str:
    """About 60 to 250 characters."""
    parts = [rng.choice(("", "", "<!DOCTYPE html>", "<head>", "<body>"))]
    if rng.random() < 0.6:
        parts += _few(rng)
    else:
        parts += (_tag(rng) for _ in range(rng.choice((0, 0, 1, 2, 4))))
        parts.append(rng.choice(_POINTS))
        parts += (_tag(rng) for _ in range(rng.choice((1, 2, 3, 4, 6, 9))))
    parts.append(_trap(rng))
    if rng.random() < 0.3:
        parts += (_tag(rng), _trap(rng))
    parts.append(_LINK.format("out"))
    return "".join(parts)

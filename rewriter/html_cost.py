"""What it costs a parser to make a tree of HTML. Pure; makes no tree.

Every parser that follows the specification is quadratic in places: each end tag may look through all open elements, and unclosed
formatting elements are opened anew in each block, so that 27 KB of ``<b a=1>…<p>…`` become two million elements. Such HTML is
recognised here before a parser is asked.
"""

from __future__ import annotations

import re
import sys

from rewriter.html_foreign import OpenElements
from rewriter.html_plain import is_plain
from rewriter.html_scan import scan, tell

FEW_STARTS = 1000
"""With fewer start tags than this, nothing that a parser does takes long: half of them formatting, half blocks, at whose
beginning and end all the former are opened anew, are `MAX_ELEMENTS` at the worst."""

MAX_ELEMENTS = 500_000
MAX_STEPS = 120_000_000
"""Open elements looked at, all tags together: 0.3 s for lexbor (2.3 ns each, measured)."""

MAX_DEPTH = 1000
"""Open elements on the average, beyond which a document may be larger than that allows."""

MAX_SLOW_STEPS = 5_000_000
"""The same for a parser in Python."""

_WS = r"\t\n\f\r "
_VOID = re.compile(rf"<(?:base|br|hr|img|input|link|meta)(?=[{_WS}/>])", re.IGNORECASE)
_NAMES = (
    "[bB](?:[iI][gG])?+|[cC][oO][dD][eE]|[eE][mM]|[fF][oO][nN][tT]|[iI]|[nN][oO][bB][rR]"
    "|[sS](?:[mM][aA][lL][lL]|[tT][rR](?:[iI][kK][eE]|[oO][nN][gG]))?+|[tT][tT]|[uU]"
)
_FORMATTING = re.compile(
    rf"<(?=[bBcCeEfFiInNsSuU]|[tT][tT])((?:{_NAMES})(?=[{_WS}/>])"
    rf"(?:(?:[{_WS}]++[^{_WS}\"'<>=/]++(?:=(?:\"[^\"<>]*+\"|'[^'<>]*+'|[^{_WS}\"'<>=`/]++))?+)*+[{_WS}]*+/?+>|))"
)
"""A formatting element; its attributes, where they are spelt so plainly that nothing can hide in them."""


def is_affordable(html: str, ends: int) -> bool:
    """Whether a fast parser reads `html`, with so many ``</``, in a time and with a memory that its length explains."""
    tags = html.count("<")
    opening = tags - ends  # what looks like an end tag, or like a void one, leaves nothing open
    if tags * opening > MAX_STEPS:
        opening -= len(_VOID.findall(html))
    if tags * opening <= MAX_STEPS and (opening <= FEW_STARTS or tags * _formatting_at_most(html) <= MAX_ELEMENTS):
        return True
    return is_plain(html, MAX_DEPTH // 2) or steps(html) <= max(MAX_STEPS, MAX_DEPTH * tags)


def is_cheap(html: str) -> bool:
    """The same for a slow one."""
    return steps(html) <= MAX_SLOW_STEPS


def _formatting_at_most(html: str) -> int:
    """Formatting elements that can be open at once: of those spelt alike three, of `a` one."""
    spelt: list[str] = _FORMATTING.findall(html)
    odd = sum(whole[-1:] != ">" for whole in spelt)
    return 1 + odd + 3 * len(set(spelt))


def steps(html: str) -> int:
    """Open elements that all tags together may look at; beyond every limit where formatting elements multiply."""
    elements = OpenElements()
    total = 0
    for token in scan(html, stretches=False):
        tell(elements, html, token)
        total += elements.depth
        if elements.multiplies:
            return sys.maxsize
    return total

"""Keeps lines within their limit when links make them longer. Knows lines and quote marks; knows no URL."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewriter.edit import Edit

_QUOTE = re.compile(r"[> ]*>")


def break_lines(
    source: str, edits: Sequence[Edit[str]], limit: int, *, flowed: bool, delsp: bool = False
) -> list[Edit[str]]:
    """`edits`, with a line break in place of the space before an edit where its line would grow past `limit`.

    RFC 5322, 2.1.1: 998 characters. The break repeats the quote marks of its line; in flowed text it is a soft one,
    with a space more where the reader drops one (DelSp: RFC 3676, 4.1). A line that was too long before, or that has no
    space, is left to the transfer encoding.
    """
    out: list[Edit[str]] = []
    keep = "  " if delsp else " " if flowed else ""
    line = at = column = 0
    for edit in edits:
        end = source.rfind("\n", at, edit.start)
        if end >= 0:
            line, column = end + 1, edit.start - end - 1
        else:
            column += edit.start - at
        at = edit.end
        space = edit.start - 1
        room = not out or out[-1].end <= space
        if column + len(edit.new) > limit and room and space > line and source[space] == " ":
            mark = _quote(source, line, space)
            newline = "\r\n" if "\r\n" in source[:1024] else "\n"
            out.append(Edit(space, edit.end, f"{keep}{newline}{mark}{edit.new}"))
            column = len(mark) + len(edit.new)
        else:
            out.append(edit)
            column += len(edit.new)
    return out


def _quote(source: str, line: int, end: int) -> str:
    match = _QUOTE.match(source, line, min(end, line + 64))
    return match.group() + " " if match else ""

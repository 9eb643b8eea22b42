"""html5lib's tokeniser suite: the start tags, attributes and end tags that our scan sees are those of the specification.

A row in another state than "Data" is brought there as a document would: behind the start tag of its element.
"""

from __future__ import annotations

import json
from pathlib import Path

from rewriter.html_references import attribute_value
from rewriter.html_scan import RAW_TEXT, Kind, attributes, scan

RCDATA = ("title", "textarea")
STATES = {
    "Data state": ("",),
    "PLAINTEXT state": ("<plaintext>",),
    "RCDATA state": tuple(f"<{name}>" for name in RCDATA),
    "RAWTEXT state": tuple(f"<{name}>" for name in ("style", "xmp", "iframe", "noembed", "noframes")),
    "Script data state": ("<script>",),
    "CDATA section state": ("<svg><![CDATA[",),
}


def rows_of(corpus: Path) -> list[dict]:
    text = (corpus / "html5lib_tokenizer" / "cases.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


Tag = tuple[str, str, tuple[tuple[str, str], ...]]


def seen(source: str) -> list[Tag]:
    """Start tags with their attributes and end tags, as a browser's preprocessing of newlines shows them."""
    tags: list[Tag] = []
    for token in scan(source, stretches=False):
        if token.kind is Kind.START:
            found = attributes(source, token).values()
            pairs = ((each.name, attribute_value(source[each.start : each.end])) for each in found)
            tags.append(("StartTag", token.name, tuple(sorted(pairs))))
        elif token.kind is Kind.END:
            tags.append(("EndTag", token.name, ()))
    return tags


def wanted(row: dict) -> list[Tag]:
    return [
        (token[0], token[1], tuple(sorted(token[2].items())) if token[0] == "StartTag" else ())
        for token in row["expected"]
        if token[0] in ("StartTag", "EndTag")
    ]


def starts(row: dict) -> list[str]:
    """What to put before the row's input, for each of its states that a document can reach."""
    found: list[str] = []
    for state in row["initialStates"] or ["Data state"]:
        for start in STATES[state]:
            element = start.strip("<>")
            last = row.get("lastStartTag")
            if last is None or element == last or element not in RAW_TEXT:
                found.append(start)
    return found


def test_every_row(corpus: Path) -> None:
    compared = 0
    failures = []
    for row in rows_of(corpus):
        for start in starts(row):
            compared += 1
            source = start + row["input"].replace("\r\n", "\n").replace("\r", "\n")
            found = seen(source)[len(seen(start.partition("<!")[0])) :]
            if found != wanted(row):
                failures.append(f"{row['id']} {row['note']}: {source!r} gives {found}, not {wanted(row)}")
    assert not failures, f"{len(failures)} of {compared}:\n" + "\n".join(failures[:20])
    assert compared > 6_700


def test_stretches_hide_no_tag_that_can_hold_a_link(corpus: Path) -> None:
    """The quick road sees the same interesting tags."""
    for row in rows_of(corpus):
        source = row["input"] + "<a href=x>y</a>"
        slow, quick = (
            [token for token in scan(source, stretches=stretches) if token.name in ("a", "form", "svg")]
            for stretches in (False, True)
        )
        assert quick == slow

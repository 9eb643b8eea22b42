"""Pathological HTML: how time grows when the input doubles. Anything over 2.3 on a quiet machine is a fault."""

from __future__ import annotations

import time

from rewriter.html import rewrite_html
from rewriter.options import Options
from tests.reversible import protect

PATTERNS = (
    "<a ", "<!--", '<a href="<a ', "<![CDATA[", "<svg><![CDATA[", "</", "(", "http://", "www.", "a.", "&amp",
    "&#", '<p x="', "<title>",
    "<svg>", "<svg><g>", "<svg></q>", "<svg><p>", "<svg><desc>", "<svg><desc><b></q>", "<svg><font color=x>",
    "<math><mi>", "<b></q>",
    "<math><mi href=http://a.example/>", "<div><svg></div>", "<select></button>", "<select><title>",
    "<template>", "<script><!--", "<q>", "<div><b>", "<li><div>", "<p>x<i a=1>", "<table><td><svg><desc>", "<svg><desc><b><p>",
    "<svg><desc><a href=x><div>", "<svg><desc></svg><table><td>", "<form></form><div>",
    "<!--[if x]><a href=http://a.example/>", "<base href=http://a.example/><a href=b>", "<a href=http://a.example/>b.c",
    "http://a.example/ ", "<meta http-equiv=refresh content='0;    ",
)  # fmt: skip


def _formatting(count: int) -> str:
    return "<svg></svg>" + "".join(f"<b a={n}>" for n in range(count)) + "<p>x" * count


def _deep(count: int) -> str:
    return "<svg></svg>" + "<q>" * count + "</x>" * count


def _attributes(count: int) -> str:
    return "<a " + " ".join(f"x{n}" for n in range(count)) + ">"


MADE = {"<b a=00000><p>x": _formatting, "<q></x>": _deep, " x00000": _attributes}
"""What a pattern cannot say, by the length of what is repeated."""


def seconds(source: str, rounds: int) -> float:
    """The best of `rounds`."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        rewrite_html(source, part="1", protect=protect, options=Options())
        best = min(best, time.perf_counter() - start)
    return best


def run(full: bool) -> dict[str, object]:
    """The largest growth from n to 2n characters; each pattern's is printed."""
    size = 1_000_000 if full else 150_000
    worst = 0.0
    link = "<a href=http://a.example/>"  # so that there is something to verify
    for pattern, make in (*((each, each.__mul__) for each in PATTERNS), *MADE.items()):
        once, twice = (seconds(link + make(n * size // len(pattern)), 3) for n in (1, 2))
        growth = twice / once
        print(f"{pattern!r:45} {once * 1000:8.1f} ms, {twice * 1000:8.1f} ms, growth {growth:.2f}")
        if twice > 0.01:  # below that it is the clock that is measured
            worst = max(worst, growth)
    return {
        "name": "linear",
        "ours": round(worst, 2),
        "peers": {},
        "unit": "times as long for twice the size",
        "ratio": {},
    }

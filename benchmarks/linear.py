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
    "<template>", "<script><!--",
    "<!--[if x]><a href=http://a.example/>", "<base href=http://a.example/><a href=b>", "<a href=http://a.example/>b.c",
    "http://a.example/ ", "<meta http-equiv=refresh content='0;    ",
)  # fmt: skip


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
    for pattern in PATTERNS:
        text = pattern * (2 * size // len(pattern))
        once, twice = seconds(text[:size], 3), seconds(text[: 2 * size], 3)
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

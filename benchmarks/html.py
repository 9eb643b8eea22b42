"""HTML bodies rewritten, sealed and verified, beside the libraries that people take for it.

    html ─▶ rewrite_html with real keys, edits applied │ lxml rewrite_links │ BeautifulSoup │ selectolax │ a bare re scan

The peers replace each link by a constant: they seal nothing and verify nothing. The text is the HTML of a newsletter of
tables and inline styles, with one link in about 3,100 characters as in 2,156 real mails and 60 published templates; with
TOC_CORPUS set, those templates as well.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lolhtml
import lxml.html
from bs4 import BeautifulSoup
from selectolax.lexbor import LexborHTMLParser

from benchmarks.text import WORDS, sealing
from rewriter.edit import apply
from rewriter.html import rewrite_html
from rewriter.options import Options
from toc.memory import keep_freed

ROUNDS = 7
CONSTANT = "https://links.example.com/u/x"


def newsletter(size: int, seed: int = 11) -> str:
    """About `size` characters of HTML."""
    rng = random.Random(seed)
    rows: list[str] = []
    length = 0
    while length < size:
        number = rng.randrange(10**6)
        cells = "".join(
            f'<table role="presentation" width="{rng.randrange(100, 600)}"><tr><td style="padding:4px 8px;border-top:1px solid '
            f'#eeeeee;font-size:13px;color:#777777"><b>{rng.choice(WORDS)}</b><br>{" ".join(rng.choices(WORDS, k=9))}</td>'
            '<td width="20" style="font-size:0;line-height:0">&nbsp;</td></tr></table>'
            for _ in range(7)
        )
        rows.append(
            '<tr><td align="center" valign="top" style="padding:10px 0 20px 0;font-family:Helvetica,Arial,sans-serif;'
            'font-size:16px;line-height:24px;color:#333333"><table border="0" cellpadding="0" cellspacing="0" width="100%">'
            f'<tr><td class="c{number % 9}"><img src="https://img.example.net/i/{number}.png" width="600" height="200" '
            'alt="" style="display:block;border:0;outline:none"></td></tr><tr><td style="padding:0 24px">'
            f'<h2>{" ".join(rng.choices(WORDS, k=5))}</h2><p style="margin:0 0 12px">{" ".join(rng.choices(WORDS, k=60))}'
            f"</p><p>{' '.join(rng.choices(WORDS, k=30))}&nbsp;</p>{cells}"
            f'<a href="https://news.example.org/c/{number}?utm_source=mail&amp;id={rng.randrange(10**9)}" target="_blank" '
            'style="background:#0a66c2;border-radius:4px;color:#ffffff;display:inline-block;padding:12px 24px">Read more</a>'
            "</td></tr></table></td></tr>"
        )
        length += len(rows[-1])
    head = (
        "<!DOCTYPE html><html><head><title>News</title><style>a{color:#0a66c2}td{padding:0}</style></head><body><table>"
    )
    return head + "\r\n".join(rows) + "</table></body></html>"


def _templates() -> list[str]:
    """The HTML templates of the corpus; none where TOC_CORPUS is not set."""
    place = os.environ.get("TOC_CORPUS")
    files = sorted((Path(place) / "email_templates").glob("*.html")) if place else []
    return [file.read_text("utf-8", "replace") for file in files]


class _Constant:
    """What lol-html calls for each element that it selects."""

    def element(self, element: lolhtml.Element) -> None:
        element.set_attribute("href", CONSTANT)


def _lol_html(text: str) -> str:
    output = bytearray()
    rewriter = lolhtml.HTMLRewriter(output.extend)
    rewriter.on("a[href]", _Constant())
    rewriter.write(text.encode())
    rewriter.end()
    return output.decode()


def _lxml(text: str) -> object:
    return lxml.html.rewrite_links(text, lambda _: CONSTANT)


def _beautiful_soup(text: str) -> str:
    tree = BeautifulSoup(text, "html.parser")
    for node in tree.find_all("a", href=True):
        node["href"] = CONSTANT
    return str(tree)


def _selectolax(text: str) -> str | None:
    tree = LexborHTMLParser(text)
    for node in tree.css("a[href]"):
        node.attrs["href"] = CONSTANT
    return tree.html


_SCAN = re.compile(r"(?:[^<]++|<(?![aA][\s/]))*+(?:<[aA][^>]*>)?")
PEERS: dict[str, Callable[[str], object]] = {
    "re scan": lambda text: sum(1 for _ in _SCAN.finditer(text)),
    "lxml rewrite_links": _lxml,
    "lol-html": _lol_html,
    "BeautifulSoup": _beautiful_soup,
    "selectolax": _selectolax,
}


def _rates(bodies: list[str], rounds: int) -> dict[str, list[float]]:
    protect, options = sealing(), Options()

    def ours(body: str) -> str:
        return apply(body, rewrite_html(body, part="1", protect=protect, options=options).edits)

    runners: dict[str, Callable[[str], object]] = {"ours": ours, **PEERS}
    rates: dict[str, list[float]] = {name: [] for name in runners}
    size = sum(map(len, bodies))
    for _ in range(rounds):
        for name, work in runners.items():
            start = time.perf_counter()
            for body in bodies:
                work(body)
            rates[name].append(size / (time.perf_counter() - start) / 1e6)
    return rates


def run(full: bool) -> dict[str, object]:
    """Ours and the peers' median MB/s, interleaved, on newsletters of 50,000 characters each."""
    keep_freed()  # as each rewriting process of the service does
    rounds = ROUNDS * 3 if full else ROUNDS
    inputs = {"newsletters": [newsletter(50_000, seed) for seed in range(20)]}
    templates = _templates()
    if templates:
        inputs["templates"] = templates
    found: dict[str, dict[str, float]] = {}
    for kind, bodies in inputs.items():
        rates = _rates(bodies, rounds)
        found[kind] = {name: statistics.median(values) for name, values in rates.items()}
        for name, values in rates.items():
            print(f"{kind:12} {name:20} {found[kind][name]:8.2f} MB/s  (min {min(values):.2f}, max {max(values):.2f})")
    medians = found["newsletters"]
    mine = medians.pop("ours")
    return {
        "name": "html",
        "ours": round(mine, 2),
        "peers": {name: round(value, 2) for name, value in medians.items()},
        "unit": "MB/s",
        "ratio": {name: round(mine / value, 3) for name, value in medians.items()},
    }

"""Links of a plain-text body found and sealed, beside a linkifier and a bare scan of the same text.

    text ─▶ rewrite_text with real keys │ linkify-it-py (finds only) │ re scan (finds `https?://` only)

The text is made up: prose with as many links as real mail has; a quarter of the lines is Japanese.
"""

from __future__ import annotations

import random
import re
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from linkify_it import LinkifyIt

from rewriter.edit import apply
from rewriter.options import Options
from rewriter.text import find, rewrite_text
from toc.config import LinkSettings
from toc.keys import create
from toc.link import Protect
from toc.policy import Mail, Policy
from toc.protect import Message, Tools, build

ROUNDS = 5
LINKS = 0.06
"""Share of lines with a link: one in about 1,280 characters, as in the text parts of 2,156 real mails."""
PROSE = (
    "the report for last week is ready please read it before our meeting and tell me what you think about costs. "
    "We shipped version 2.4.1 to every customer; thanks to all of you, it went well (again). See also notes.txt."
)
WORDS = PROSE.split()
JAPANESE = "先週の報告書ができました。会議の前にご一読のうえ、費用についてご意見をお聞かせください。"


def sample(size: int, seed: int = 7) -> str:
    """About `size` characters of text."""
    rng = random.Random(seed)
    lines: list[str] = []
    length = 0
    while length < size:
        line = JAPANESE if rng.random() < 0.25 else " ".join(rng.choice(WORDS) for _ in range(13))
        if rng.random() < LINKS:
            line += f" https://www.example{rng.randrange(500)}.com/a/{rng.randrange(10**6)}?id={rng.randrange(10**9)}"
        lines.append(line)
        length += len(line) + 2
    return "\r\n".join(lines)


def sealing() -> Protect:
    """The real `protect`, with a fresh keyset, no judge and no store."""
    now = datetime.now(UTC)
    keyset = create("bench", "default", ("https://links.example.com",), random=random.Random(1).randbytes, now=now)
    return build(Message(Mail()), Tools(keyset, Policy(), LinkSettings(), now))


_SCAN = re.compile(r"https?://[^\s<>\"]+", re.IGNORECASE)
_LOWER = re.compile(r"https?://[^\s<>\"]+")
PEERS: dict[str, Callable[[str], object]] = {
    "linkify-it-py": LinkifyIt().match,
    "re scan": lambda text: [match.span() for match in _SCAN.finditer(text)],
    "re scan, lower case": lambda text: [match.span() for match in _LOWER.finditer(text)],
}
"""A scheme counts in any case (RFC 3986, 3.1), so the bare scan looks for any case too; the other is there for scale."""


def _rate(work: Callable[[str], object], text: str) -> float:
    """MB/s, a megabyte being a million characters."""
    start = time.perf_counter()
    work(text)
    return len(text) / (time.perf_counter() - start) / 1e6


def run(full: bool) -> dict[str, object]:
    """Ours and the peers' median MB/s, interleaved; `full` takes a longer text and more rounds."""
    text = sample(5_000_000 if full else 1_000_000)
    protect, options = sealing(), Options()

    def ours(body: str) -> str:
        return apply(body, rewrite_text(body, part="1", protect=protect, options=options).edits)

    runners: dict[str, Callable[[str], object]] = {"ours": ours, "ours, finding only": find, **PEERS}
    slow = text[:100_000]  # linkify-it-py needs seconds for a megabyte
    rates: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(3 * ROUNDS if full else ROUNDS):
        for name, work in runners.items():
            rates[name].append(_rate(work, slow if name == "linkify-it-py" else text))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        print(f"{name:20} {medians[name]:8.2f} MB/s  (min {min(values):.2f}, max {max(values):.2f})")
    mine = medians.pop("ours")
    del medians["ours, finding only"]
    return {
        "name": "text",
        "ours": round(mine, 2),
        "peers": {name: round(value, 2) for name, value in medians.items()},
        "unit": "MB/s",
        "ratio": {name: round(mine / value, 3) for name, value in medians.items()},
    }

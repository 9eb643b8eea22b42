"""Freed memory is kept.

Invariant: once a process keeps it, trees that are made and freed again and again ask the kernel for no page anew.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from toc.memory import keep_freed

ROUNDS = 20
PARSES = f"""
import resource
from selectolax.lexbor import LexborHTMLParser
from toc.memory import keep_freed
html = "<table><tr><td class=a>text</td></tr></table>" * 2000
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        LexborHTMLParser(html)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
as_ever = faults()
keep_freed()
LexborHTMLParser(html)
print(as_ever, faults())
"""


def test_a_second_parse_fetches_no_page() -> None:
    if not keep_freed():
        pytest.skip("the C library is not glibc")
    done = subprocess.run([sys.executable, "-c", PARSES], capture_output=True, text=True, check=True)
    as_ever, kept = map(int, done.stdout.split())
    assert as_ever > 100 * ROUNDS, "else there is nothing to keep"
    assert kept < as_ever / 20

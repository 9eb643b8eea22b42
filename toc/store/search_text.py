"""Pairs of characters by which subjects in Chinese, Japanese and Korean are found. Pure.

These scripts set no blanks between words, and two characters are a word there: 請求 is an invoice. Other scripts are
searched by reading the subjects.
"""

from __future__ import annotations

import re

_PAIRABLE = re.compile(
    "[\u3005-\u3007\u3041-\u309f\u30a1-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003134f]{2,}"
)
"""Runs of ideographs, kana and hangul syllables."""


def grams(text: str) -> set[str]:
    """Every pair of neighbouring characters of these scripts in `text`, as they stand."""
    return {run[place : place + 2] for run in _PAIRABLE.findall(text) for place in range(len(run) - 1)}

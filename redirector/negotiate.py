"""Which language a page speaks: the reader's choice, else Accept-Language (RFC 9110 section 12.5.4). Pure; never raises."""

from __future__ import annotations

import re
from functools import lru_cache

LANGUAGES: dict[str, str] = {
    "en": "English",
    "ja": "日本語",
    "zh-Hans": "简体中文",
    "zh-Hant": "繁體中文",
    "ko": "한국어",
    "de": "Deutsch",
    "fr": "Français",
    "es": "Español",
    "pt": "Português",
    "ar": "العربية",
}
"""By their own names, as the switch on each page shows them."""

DEFAULT = "en"
RIGHT_TO_LEFT = frozenset({"ar"})
_TRADITIONAL = ("hant", "tw", "hk", "mo")
_BY_LOWER = {code.lower(): code for code in LANGUAGES}
_CHOSEN = re.compile(r"(?:^|&)lang=([A-Za-z-]{2,10})(?:&|$)")


def chosen_language(query: str) -> str | None:
    """What the switch on a page put into the query, if it is one of ours."""
    found = _CHOSEN.search(query[:2000])
    return _BY_LOWER.get(found.group(1).lower()) if found else None


@lru_cache(maxsize=1024)
def negotiate(accept: str) -> str:
    """One of `LANGUAGES` for an Accept-Language header; English where none fits."""
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept[:500].split(",")):
        tag, _, parameters = item.partition(";")
        language = _ours(tag.strip().lower())
        quality = _quality(parameters)
        if language and quality > 0:
            wanted.append((-quality, place, language))
    return min(wanted)[2] if wanted else DEFAULT


def _ours(tag: str) -> str | None:
    if tag in _BY_LOWER:
        return _BY_LOWER[tag]
    primary, *rest = tag.split("-")
    if primary == "zh":
        return "zh-Hant" if any(part in _TRADITIONAL for part in rest) else "zh-Hans"
    return primary if primary in LANGUAGES else None


def _quality(parameters: str) -> float:
    found = re.fullmatch(r"\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*", parameters)
    return float(found.group(1)) if found else (0.0 if "q" in parameters else 1.0)

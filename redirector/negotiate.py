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
MAX_HEADER = 500
"""Characters of the header that are looked at: browsers send less than 100."""

_BY_LOWER = {code.lower(): code for code in LANGUAGES}
_CHINESE = {
    "hans": "zh-Hans",
    "hant": "zh-Hant",
    "tw": "zh-Hant",
    "hk": "zh-Hant",
    "mo": "zh-Hant",
}
"""First subtag that decides; by RFC 5646 the script stands before the region. Any other Chinese is simplified."""

_CHINESE_LANGUAGES = {"zh": "zh-Hans", "cmn": "zh-Hans", "wuu": "zh-Hans", "yue": "zh-Hant", "nan": "zh-Hant"}
_CHOSEN = re.compile(r"(?:^|&)lang=([A-Za-z-]{2,10})(?:&|$)")
_QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*\Z", re.IGNORECASE)


def chosen_language(query: str) -> str | None:
    """What the switch on a page put into the query, if it is one of ours."""
    found = _CHOSEN.search(query[:2000])
    return _BY_LOWER.get(found.group(1).lower()) if found else None


def negotiate(accept: str) -> str:
    """One of `LANGUAGES` for an Accept-Language header; English where none fits."""
    return _negotiate(accept[:MAX_HEADER])


@lru_cache(maxsize=1024)
def _negotiate(accept: str) -> str:
    wanted: list[tuple[float, int, str]] = []
    for place, item in enumerate(accept.split(",")):
        tag, _, parameters = item.partition(";")
        language = _ours(tag.strip().lower().replace("_", "-"))
        quality = _quality(parameters)
        if language and quality > 0:
            wanted.append((-quality, place, language))
    return min(wanted)[2] if wanted else DEFAULT


def _ours(tag: str) -> str | None:
    """RFC 4647 section 3.4 (lookup), with Chinese told apart by script or region."""
    primary, *rest = tag.split("-")
    if primary in _CHINESE_LANGUAGES:
        return next((_CHINESE[part] for part in rest if part in _CHINESE), _CHINESE_LANGUAGES[primary])
    return primary if primary in LANGUAGES else None


def _quality(parameters: str) -> float:
    """1 where there is no weight; 0, so that the tag is passed over, where the weight is no weight."""
    if not parameters.strip():
        return 1.0
    found = _QUALITY.match(parameters)
    return float(found.group(1)) if found else 0.0

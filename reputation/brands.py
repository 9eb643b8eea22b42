"""Look-alikes of the names that the operator protects. Pure: skeletons and one edit of distance, over the labels of a host.

A skeleton is what a hurried reader sees: Cyrillic, Greek and full-width letters as the Latin ones they look like, digits and
letter pairs that pass for letters (``rn`` for ``m``) replaced. Two names with one skeleton look the same. The table is our
own selection of Unicode's confusables.txt: the letters that domain registries allow and mail fonts draw alike.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from toc.url import registrable_domain, unicode_host

MIN_EDIT_LENGTH = 6
"""Shorter names have too many honest neighbours one edit away."""

_LOOKS_LIKE = str.maketrans(
    {
        # Cyrillic
        "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "һ": "h", "і": "i", "ј": "j", "к": "k", "ӏ": "l", "м": "m",
        "п": "n", "о": "o", "р": "p", "ԛ": "q", "г": "r", "ѕ": "s", "т": "t", "ц": "u", "ѵ": "v", "ԝ": "w", "х": "x",
        "у": "y", "ё": "e", "ї": "i", "ѡ": "w", "ҽ": "e", "ь": "b", "ғ": "f",
        # Greek
        "α": "a", "β": "b", "ε": "e", "η": "n", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "σ": "o", "τ": "t",
        "υ": "u", "χ": "x", "ω": "w", "γ": "y",
        # Armenian
        "ա": "w", "ո": "n", "ս": "u", "օ": "o", "հ": "h", "զ": "q", "ց": "g", "ք": "p",
        # Latin letters that pass for plain ones
        "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "ɑ": "a", "ɡ": "g", "ɩ": "i", "ʟ": "l", "ɴ": "n",
        "ʀ": "r", "ꜱ": "s", "ƙ": "k", "ß": "b", "þ": "p", "æ": "ae", "œ": "oe",
        # digits
        "0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g",
    }
)  # fmt: skip
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("ii", "u"))


@dataclass(frozen=True, slots=True)
class Brand:
    """The word that an impostor would imitate, and its true registrable domains."""

    name: str
    domains: tuple[str, ...]


class Brands:
    """All protected names, ready to be asked."""

    def __init__(self, brands: Iterable[Brand]) -> None:
        rows = tuple(brands)
        self._own = frozenset(registrable_domain(domain.lower()) for brand in rows for domain in brand.domains)
        self._names = {brand.name.lower(): brand for brand in rows}
        self._skeletons = {skeleton(name): brand for name, brand in self._names.items()}
        self._one_edit: dict[str, Brand] = {}
        for form, brand in self._skeletons.items():
            if len(form) >= MIN_EDIT_LENGTH:
                for gap in _deletions(form):
                    self._one_edit.setdefault(gap, brand)

    def imitated(self, host: str, domain: str) -> Brand | None:
        """The brand that `host` (ASCII, with its registrable `domain`) looks like, or None.

        A brand's own domains never imitate it. A plain word that only contains a brand's name does not either, but the
        name as a word of its own between hyphens does: ``micros0ft-login.example``.
        """
        if not self._names or domain in self._own:
            return None
        for word in _words(host):
            form = skeleton(word)
            brand = self._skeletons.get(form)
            if brand is not None:
                return brand
            if len(form) >= MIN_EDIT_LENGTH - 1 and (brand := self._near(form)) is not None:
                return brand
        return None

    def _near(self, form: str) -> Brand | None:
        """One letter missing, added, changed or swapped (Damerau-Levenshtein distance 1)."""
        candidates = {self._one_edit.get(form), self._skeletons.get(form)}
        candidates.update(self._one_edit.get(gap) or self._skeletons.get(gap) for gap in _deletions(form))
        for brand in candidates - {None}:
            assert brand is not None
            if _is_one_edit(form, skeleton(brand.name.lower())):
                return brand
        return None


@lru_cache(maxsize=65536)
def skeleton(text: str) -> str:
    """What a hurried reader sees in a label."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    plain = plain.translate(_LOOKS_LIKE)
    for pair, single in _PAIRS:
        plain = plain.replace(pair, single)
    return plain


def _words(host: str) -> list[str]:
    """The labels of the host as Unicode, each whole and each word between its hyphens; without the last (top) label."""
    labels = unicode_host(host.rstrip(".")).split(".")[:-1]
    found = []
    for label in labels:
        found.append(label)
        if "-" in label or "_" in label:
            found += [word for word in re.split(r"[-_]+", label) if len(word) > 2]
            found.append(label.replace("-", ""))
    return found


def _deletions(text: str) -> set[str]:
    return {text[:place] + text[place + 1 :] for place in range(min(len(text), 63))}


def _is_one_edit(left: str, right: str) -> bool:
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    start = 0
    while start < min(len(left), len(right)) and left[start] == right[start]:
        start += 1
    a, b = left[start:], right[start:]
    return a[1:] == b or a == b[1:] or a[1:] == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:])


_SCRIPTS = (("LATIN", "latin"), ("CYRILLIC", "cyrillic"), ("GREEK", "greek"), ("ARMENIAN", "armenian"))


@lru_cache(maxsize=65536)
def mixes_scripts(label: str) -> bool:
    """Whether one label mixes alphabets that look alike: Latin, Cyrillic, Greek, Armenian (UTS #39, highly restrictive).

    Japanese, Chinese and Korean beside Latin are ordinary.
    """
    found: set[str] = set()
    for character in label:
        name = unicodedata.name(character, "")
        found.update(short for long, short in _SCRIPTS if name.startswith(long) and character.isalpha())
    return len(found) > 1

"""Look-alikes of the names that the operator protects. Pure: skeletons and one edit of distance, over the labels of a host.

A skeleton is what a hurried reader sees: Cyrillic, Greek and full-width letters as the Latin ones they look like, digits and
letter pairs that pass for letters (``rn`` for ``m``) replaced. Two names with one skeleton look the same. The table is our
own selection of Unicode's confusables.txt: the letters that domain registries allow and mail fonts draw alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from toc.url import is_public_suffix, registrable_domain, unicode_host

MIN_LENGTH = 3
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
    """The word that an impostor would imitate, and its true registrable domains.

    ``example.*`` among them stands for the name under every public suffix that no private owner hands out.
    """

    name: str
    domains: tuple[str, ...]


class Brands:
    """All protected names, ready to be asked."""

    def __init__(self, brands: Iterable[Brand]) -> None:
        rows = tuple(brands)
        domains = [domain.lower() for brand in rows for domain in brand.domains]
        self._own = frozenset(registrable_domain(domain) for domain in domains if not domain.endswith(".*"))
        self._own_everywhere = frozenset(domain[:-2] for domain in domains if domain.endswith(".*"))
        self._behind = {brand.name: frozenset(map(_first_suffix_label, brand.domains)) | _COMMON for brand in rows}
        self._names = {brand.name.lower(): brand for brand in rows}
        self._skeletons = {skeleton(name): brand for name, brand in self._names.items()}
        self._hyphened = any("-" in name for name in self._names)
        forms = {*self._skeletons, *self._names}
        self._heads = tuple({head for form in forms for head in _endings(form, heads=True)})
        self._tails = tuple({tail for form in forms for tail in _endings(form, heads=False)})
        self._first = frozenset(head[:2] for head in self._heads)
        self._last = frozenset(tail[-2:] for tail in self._tails)
        self._near_by = _Neighbours((*self._skeletons.items(), *self._names.items()))

    def imitated(self, host: str, domain: str) -> Brand | None:
        """The brand that `host` (ASCII, with its registrable `domain`) looks like, or None.

        Looked at is what the owner chose: the labels before the public suffix, whole, joined, and word by word between
        hyphens. The exact name counts as the owner's own label (``brand-login.example``) or spelt as a whole domain in
        front (``brand.com.evil.example``); as a sub-host alone it does not: companies name their services after the
        product (``brand.company.example``). A name that only resembles it counts anywhere.
        """
        if not self._names or "." not in domain or self._is_own(domain):
            return None
        chosen = host.rstrip(".").removesuffix(domain.partition(".")[2]).rstrip(".")
        labels = unicode_host(chosen).split(".")
        for place, label in enumerate(labels):
            alike = self._alike(label)
            if alike:
                brand = self._of_label(label, alike, is_owners=place == len(labels) - 1, behind=labels[place + 1 :])
                if brand is not None:
                    return brand
        return None

    def may_imitate(self, host: str) -> bool:
        """Whether any word in `host` begins or ends as a look-alike would: no for most, and never where `imitated` finds one."""
        first, last = self._first, self._last
        hyphened = "-" in host or "_" in host
        words = (host.replace("-", ".").replace("_", ".") if hyphened else host).split(".")
        for word in words:
            if word[:2] in first and word.startswith(self._heads):
                return True
            if word[-2:] in last and word.endswith(self._tails):
                return True
            if hyphened and len(word) < MIN_LENGTH:  # p-aypal, and every A-label
                return True
        return False

    def _is_own(self, domain: str) -> bool:
        if domain in self._own:
            return True
        name, _, suffix = domain.partition(".")
        return name in self._own_everywhere and is_public_suffix(suffix)

    def _of_label(
        self, label: str, alike: list[tuple[str, Brand]], *, is_owners: bool, behind: list[str]
    ) -> Brand | None:
        words = _words(label)
        for word, brand in alike:
            if is_owners or word != brand.name.lower():
                return brand
            after = behind if word == label else words[words.index(word) + 1 :] if word in words else []
            if after and after[0] in self._behind[brand.name]:
                return brand
        return None

    def _alike(self, label: str) -> list[tuple[str, Brand]]:
        """The spellings in one label that look like a brand: its words joined, then each."""
        words = _words(label)
        spellings = words
        if len(words) > 1:
            spellings = (label, "".join(words), *words) if self._hyphened else ("".join(words), *words)
        found = []
        for word in spellings:
            brand = self._look_up(word) if len(word) >= MIN_LENGTH else None
            if brand is not None:
                found.append((word, brand))
        return found

    def _look_up(self, word: str) -> Brand | None:
        form = skeleton(word)
        near = self._near_by.find
        return self._skeletons.get(form) or near(form) or (near(word) if word != form else None)


class _Neighbours:
    """Names that are one edit away, found without a look at each (Damerau-Levenshtein distance 1).

    An edit of a name of n letters touches either its first or its last (n - 1) // 2, so a neighbour shares one of the two; and
    it is at most one letter longer or shorter.
    """

    def __init__(self, forms: Iterable[tuple[str, Brand]]) -> None:
        self._by_length: dict[int, dict[int, dict[str, list[tuple[str, Brand]]]]] = {}
        for form, brand in forms:
            if len(form) >= MIN_EDIT_LENGTH:
                size = (len(form) - 1) // 2
                for length in range(len(form) - 1, len(form) + 2):
                    ends = self._by_length.setdefault(length, {}).setdefault(size, {})
                    for end in (form[:size] + "*", "*" + form[-size:]):
                        ends.setdefault(end, []).append((form, brand))

    def find(self, form: str) -> Brand | None:
        """The brand whose name has one letter missing, added, changed or swapped in `form`."""
        for size, ends in self._by_length.get(len(form), _NOTHING).items():
            for end in (form[:size] + "*", "*" + form[-size:]):
                for true, brand in ends.get(end, ()):
                    if _is_one_edit(form, true):
                        return brand
        return None


_NOTHING: dict[int, dict[str, list[tuple[str, Brand]]]] = {}


def _spelt(letter: str) -> list[str]:
    """The ASCII spellings of one letter of a skeleton: itself, digits, pairs."""
    plain = [letter, *(chr(code) for code, seen in _LOOKS_LIKE.items() if code < 128 and seen == letter)]
    pairs = [pair for pair, single in _PAIRS if single == letter]
    return plain + [a + b for pair in pairs for a in _spelt(pair[0]) for b in _spelt(pair[1])]


def _endings(form: str, *, heads: bool) -> Iterator[str]:
    """How the ASCII spellings begin (or end) that look like `form` there: two characters, three where it is long.

    A look-alike of a long name is one edit away: that leaves its first or its last letters as they are.
    """
    length = 3 if len(form) >= MIN_EDIT_LENGTH + 1 else 2
    letters = form[:length] if heads else form[-length:]
    for spelt in map("".join, product(*map(_spelt, letters))):
        yield spelt[:length] if heads else spelt[-length:]


def _words(label: str) -> tuple[str, ...]:
    if "-" not in label and "_" not in label:
        return (label,)
    return tuple(filter(None, label.replace("_", "-").split("-")))


_COMMON = frozenset({"com", "net", "org"})


def _first_suffix_label(domain: str) -> str:
    return domain.lower().partition(".")[2].partition(".")[0]


def skeleton(text: str) -> str:
    """What a hurried reader sees in a label."""
    plain = text.lower()
    if not plain.isascii():
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
    plain = plain.translate(_LOOKS_LIKE)
    for pair, single in _PAIRS:
        plain = plain.replace(pair, single)
    return plain


def _is_one_edit(left: str, right: str) -> bool:
    if left == right or not -2 < len(left) - len(right) < 2:
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

"""Which characters end a URL in running text, and which are letters of Chinese, Japanese and Korean.

Knows characters and a few word lists; knows no URL. The rules and their numbers: docs/text-boundary.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

LETTERS = (
    "\u1100-\u11ff\ua960-\ua97f\uac00-\ud7ff"  # Hangul, and its letters
    "\u3005-\u3007\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"  # kana, 々 〆 〇, combining marks
    "\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"  # Bopomofo, Hangul letters
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9f\uffa1-\uffdc"  # full-width and half-width forms
)
"""The letters of CJK text, as the inside of a character class."""

SPACELESS = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0edf\u1000-\u109f\u1780-\u17d3\u17d7\u17dc\u17dd"
"""Thai, Lao, Burmese and Khmer, which write no space between words; between phrases they do."""

HIRAGANA = "\u3041-\u3096\u309d-\u309f"
MIDDLE_DOTS = "\u30fb\u00b7\uff65"
JOINERS = "\u200c\u200d"

ZERO_WIDTH = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
"""Characters that show nothing (Unicode, Default_Ignorable_Code_Point), as the inside of a character class."""

_ASCII_STOPS = '\x00- "<>\\^`{|}\x7f'
_STOP_CATEGORIES = (
    frozenset({"Cc", "Cf", "Cs", "Nl", "No"})
    | {f"P{c}" for c in "cdseifo"}
    | {f"{a}{b}" for a, bs in (("S", "mcko"), ("Z", "slp")) for b in bs}
)
_NUMBERS_THAT_ARE_LETTERS = frozenset({0x3007})  # 〇 is Nl


def _ranges(points: Iterable[int]) -> str:
    """The points (ascending) as the inside of a character class."""
    out: list[str] = []
    first = last = -2
    for point in (*points, -9):
        if point == last + 1:
            last = point
            continue
        if last >= 0:
            out.append(f"\\U{first:08x}-\\U{last:08x}")
        first = last = point
    return "".join(out)


_FIRST, _LAST = 0x80, 0x20000
"""Code points whose category is asked. Planes 2 and 3 are letters, 15 and 16 private; plane 14 is named by hand."""

_CATEGORIES = tuple(map(unicodedata.category, map(chr, range(_FIRST, _LAST))))
_TAGS = "\\U000e0000-\\U000e007f"


def _of_categories(categories: frozenset[str], but: str = "") -> str:
    """The characters of these categories beyond ASCII, without `but`, as the inside of a character class."""
    return _ranges(_points(categories, but)) + _TAGS


def _points(categories: frozenset[str], but: str) -> Iterator[int]:
    out = {ord(character) for character in but} | _NUMBERS_THAT_ARE_LETTERS
    return (p for p, category in enumerate(_CATEGORIES, _FIRST) if category in categories and p not in out)


def _run_of_others(ascii_signs: str, categories: frozenset[str], but: str = "") -> str:
    """A pattern for characters that are not of these categories; of ASCII, `ascii_signs` alone.

    By planes: a class of them all holds hundreds of ranges beyond the first plane, each of which is asked for each letter,
    which makes it a hundred times slower than a class of the first plane.
    """
    named = set(_points(categories, but))
    plane = _ranges(point for point in range(_FIRST, 0x10000) if point not in named)
    return f"(?:[{ascii_signs}]++|[{plane}]++|[^\\x00-\uffff{_of_categories(categories, but)}])"


STOPS = _ASCII_STOPS.replace("\\", "\\\\").replace("^", "\\^") + _of_categories(_STOP_CATEGORIES)
"""What ends a URL: space, control and format characters, some ASCII signs, every foreign sign (P, S, Z, No)."""

_SYMBOLS = _of_categories(frozenset({"So"}))

STOP = re.compile(f"[{STOPS}]")
TO_STOP = re.compile(_run_of_others(r"!#-;=?-\[\]_a-z~", _STOP_CATEGORIES) + "*+")
"""Everything up to the next stop, or to the end."""

CJK = re.compile(f"[{LETTERS}]")
CJK_RUN = re.compile(f"[{LETTERS}](?:[{MIDDLE_DOTS}]?[{LETTERS}])*|(?<=[A-Za-z0-9])[{SPACELESS}]+")
"""A run of letters that may be text glued to a URL: of CJK anywhere, of Thai and its like right behind an ASCII letter."""

HOST_RUN = re.compile(_run_of_others(r"%\-.0-9A-Z_a-z", _STOP_CATEGORIES - {"So"}, but=JOINERS) + "++")
"""Letters, digits, signs and dots of a host; symbols and joiners too, as there are names with them."""

SYMBOL_OR_CJK = re.compile(f"[{_SYMBOLS}{LETTERS}]")
HAS_HIRAGANA = re.compile(f"[{HIRAGANA}]")

_EXTENSION_NAMES = (
    "pdf docx? docm dotx? xlsx? xlsm xlsb pptx? pptm ppsx? odt ods odp rtf txt csv tsv md xml json ya?ml log "
    "html? xhtml shtml phtml php[345]? aspx? ashx jspx? do cgi cfm css js "
    "jpe?g png gif bmp tiff? webp svg heic ico psd ai eps "
    "mp[34] m4[av] mov avi wmv mkv webm wav flac ogg aac "
    "zip rar 7z tar gz tgz bz2 xz lzh exe msi dmg pkg apk ipa iso hwpx? jtdc? epub mobi ics vcf eml msg ttf otf woff2?"
)
EXTENSION = re.compile(rf"\.(?:{'|'.join(_EXTENSION_NAMES.split())})(?![A-Za-z0-9])", re.IGNORECASE)
"""A dot and a file extension that mails link to."""

FILE_IN_BRACKETS = re.compile(f"(?:\uff08[^{STOPS}/?#]*\uff09[^{STOPS}/?#]*)+")
"""（…） inside what may be a file name: `契約書（案）.docx`."""

PARTICLE = re.compile(
    "を|から|まで|より|にて|では|には|とは|です|という|または|および|[はがにでとのへもや](?![\u3041-\u3096])"
)
"""What begins text that is glued behind a URL in Japanese. One kana alone counts only where no word follows in kana."""

_KOREAN_PARTICLES = (
    "은|는|이|가|을|를|에|에서|에게|에는|에서는|에서도|에도|으로|로|으로의|로의|으로만|로만|와|과|의|도|만|나|이나|란|이란|"
    "랑|이랑|하고|부터|까지|처럼|보다|마다|조차|라고|이라고|이고|이며|입니다"
)
KOREAN_PARTICLES = frozenset(_KOREAN_PARTICLES.split("|"))
"""Particles, and the copula, that are glued behind a URL in Korean."""

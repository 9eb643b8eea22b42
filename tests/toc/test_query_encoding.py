"""Queries by the charset of their document.

Invariants: what comes out is ASCII, and its bytes decode to what went in, or to a reference to it. Which bytes they are is
held against Chromium by tests/e2e/test_query_chromium.py.
"""

from __future__ import annotations

import html
from urllib.parse import unquote_to_bytes

import pytest

from toc.query_encoding import encode_query

CODECS = {
    "shift_jis": "cp932", "euc-jp": "euc_jp", "iso-2022-jp": "iso2022_jp_ext", "euc-kr": "cp949", "big5": "big5hkscs",
    "gbk": "gb18030", "gb18030": "gb18030", "cp1252": "cp1252", "cp1251": "cp1251", "koi8-r": "koi8-r", "iso8859-2": "iso8859-2",
}  # fmt: skip
TEXT = "q=日本語 かなカナ ﾊﾝｶｸ 報告 한국어 Ж é € ~ \\ 😀&b='x'"
WIDE = str.maketrans("ﾊﾝｶｸ", "ハンカク")


@pytest.mark.parametrize("charset", CODECS)
def test_the_bytes_are_those_of_the_text(charset: str) -> None:
    text = TEXT.replace("€", "") if charset in ("big5", "gbk") else TEXT  # Python's codecs do not know it
    found = encode_query(text, charset)
    assert found.isascii()
    again = html.unescape(unquote_to_bytes(found).decode(CODECS[charset]))
    assert again == (text.translate(WIDE) if charset == "iso-2022-jp" else text)


CASES = [
    ("日本語", "iso-2022-jp", "%1B$BF|K\\8l%1B(B", "one shift for all of them"),
    ("日a本", "iso-2022-jp", "%1B$BF|%1B(Ba%1B$BK\\%1B(B", "and one for each piece"),
    ("¥a~", "iso-2022-jp", "%1B(J\\a%1B(B~", "the Roman set has no tilde"),
    ("é日", "iso-2022-jp", "%26%23233%3B%1B$BF|%1B(B", "none has an accent"),
    ("髙", "shift_jis", "%FB%FC", "IBM's place, not that of NEC, as Python's codec has it"),
    ("髙", "euc-jp", "%FC%E2", "there NEC's is the only one"),
    ("¢−", "shift_jis", "%26%23162%3B%81|", "no best fit but for the minus"),
    ("丂", "euc-jp", "%26%2319970%3B", "JIS X 0212 is read and never written"),
    ("\ue000", "shift_jis", "%26%2357344%3B", "so are letters of private use"),
    ("é十", "big5", "%26%23233%3B%A4Q", "no letter of Hong Kong; the last of two places"),
    ("€", "gbk", "%80", "one byte"),
    ("€", "gb18030", "%A2%E3", "two"),
    ("ḿ", "gbk", "%26%237743%3B", "four bytes are more than GBK has"),
    ("\x81", "cp1252", "%81", "a control where Windows has nothing"),
    ("\x80", "cp1252", "%26%23128%3B", "but not where the euro stands"),
    ("日", "cp1252", "%26%2326085%3B", "what a form sends"),
]


@pytest.mark.parametrize(("query", "charset", "expected", "why"), CASES)
def test_cases(query: str, charset: str, expected: str, why: str) -> None:
    assert encode_query(query, charset) == expected, why

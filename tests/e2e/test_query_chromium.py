"""What Chromium makes of each character of the first plane in a query, in documents of every charset: ours is the same.

Nothing is fetched: each request but that of the document itself is refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, sync_playwright

from rewriter import charset
from tests.conftest import require_program
from toc.url import serialise

HERE = "http://mail.example/"
DIFFERENT = {
    "big5": (42, "Python's codec lacks the signs of control characters, and a few letters"),
    "gbk": (20, "the letters that China moved in 2022"),
    "gb18030": (21, "the same"),
    "windows-1255": (1, "a vowel sign"),
    "koi8-u": (4, "two letters of Belarus, in place of two lines"),
}
"""Charset → characters that are written otherwise, and why: Python's codecs decode them otherwise, too."""

CHARSETS = {
    "shift_jis": "あ", "euc-jp": "あ", "iso-2022-jp": "あ", "euc-kr": "한", "big5": "報", "gbk": "报", "gb18030": "报\U0001f600",
    "windows-1252": "é", "windows-1250": "é", "windows-1251": "Ж", "windows-1253": "Ω", "windows-1255": "א", "windows-874": "ก",
    "iso-8859-2": "é", "iso-8859-15": "é", "koi8-r": "Ж", "koi8-u": "Ж",
}  # fmt: skip
"""Charset → text that it is known by."""

TEXTS = ["日本語", "a日bア¥c~\\x‾y~z", "😀日😀本", "¥日¥", "ｶﾞ", "é日", "①髙", "中é文"]

ENCODE = """texts => {
  const link = document.querySelector('a');
  return texts.map(text => { link.setAttribute('href', 'http://x.example/?' + text); return link.href; });
}"""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require_program("chromium"), args=["--no-sandbox"])
        yield browser.new_page()
        browser.close()


@pytest.mark.parametrize("name", CHARSETS)
def test_queries_are_encoded_as_chromium_does(page: Page, name: str) -> None:
    def answer(route: Route) -> None:
        if route.request.url == HERE:
            route.fulfill(headers={"content-type": f"text/html; charset={name}"}, body="<a>x</a>")
        else:
            route.abort()

    page.unroute("**/*")
    page.route("**/*", answer)
    page.goto(HERE)
    texts = TEXTS + [chr(number) + "!" for number in (*range(0x80, 0xD800), *range(0xE000, 0x10000))]
    content = CHARSETS[name].encode({"iso-2022-jp": "iso2022_jp", "windows-874": "cp874"}.get(name, name))
    encoding = charset.decode(content, name, html=True).query_encoding
    theirs = page.evaluate(ENCODE, texts)
    ours = [serialise("http://x.example/?" + text, None, encoding) for text in texts]
    different = [(text, *pair) for text, *pair in zip(texts, theirs, ours, strict=True) if pair[0] != pair[1]]
    assert len(different) == DIFFERENT.get(name, (0, ""))[0], different[:20]

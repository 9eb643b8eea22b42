"""HTML documents for the fuzz of links: each kind of navigable attribute, URLs spelt in every way that browsers clean up."""

from __future__ import annotations

import random

_URLS = (
    "http://evil.example/p", "https://evil.example/p?a=1&b=2#f", "HTTP://EVIL.example:80/", "//evil.example/x",
    "\\\\evil.example/x", "/\\evil.example", "http:\\\\evil.example\\x", "https:evil.example", "http:/evil.example",
    "http:///evil.example/",
    "  http://evil.example/  ", "\x01http://evil.example/", "ht\ntp://evil.example/", "http://ev\til.example/",
    "http://evil%2eexample/", "http://%65vil.example/", "http://ｅｖｉｌ.example/", "http://evil。example/", "http://0x7f.1/",
    "http://2130706433/", "http://user:pw@evil.example/", "http://evil.example\\@good.example/", "http://[::1]/",
    "http://bücher.example/ä?ö=ü#ß", "http://evil.example?q", "http://evil.example/%zz", "http://evil.example/a b",
    "http://evil.example/\"x'<x>", "http://evil.example/日本?検索=語", "https:/\\/evil.example", "http://EVIL.EXAMPLE./",
    "h\u200bttp://evil.example/", "javascript:alert(1)", "data:text/html,<a href=http://evil.example/>", "mailto:a@b.example",
    "view-source:http://evil.example/", "ms-word:ofe|u|http://evil.example/a.doc", "file:///c:/x", "blob:http://evil.example/x",
    "ws://evil.example/", "http://evil.example:99999/", "http://evil..example/", "http://evil.example:/x", "http://:@evil.example/",
    "?q", "#f", "x/y", "", ".", "http://a.example uk/", "http://evil\u00ad.example/", "http://é vil.example/", "http://localhost/",
)  # fmt: skip
_NAMED = {
    ":": "&colon;",
    "/": "&sol;",
    ".": "&period;",
    "?": "&quest;",
    "\t": "&Tab;",
    "\n": "&NewLine;",
    "\\": "&bsol;",
}
_GAPS = (" ", "\n", "\t", "\f", "\r\n", "/", "  ")
_JUNK = (
    "", "", "", " x", " id=a", " href2=http://no.example/", " title='<a href=http://no.example/>'", " \"=''", " =x", "/",
    ' class="a>b"',
)  # fmt: skip
_RAW = ("title", "textarea", "style", "script", "xmp", "noembed", "noframes")
_TEXTS = (
    "http://evil.example/t", "www.evil.example/t", "evil.example/t", "https://evil.example/日本を", "http&colon;//evil.example/t",
    "htt&#112;://evil.example/t", "http://evil.example/a&amp;b", "http://ev&shy;il.example/", "http:&#x2f;/evil.example/",
    "\\\\server\\share\\x", "file://server/x",
)  # fmt: skip
_ODD = (
    "<!--", "<!-->", "<!--x--!>", "<![CDATA[", "]]>", "</>", "<!doctype html>", "<table>", "<tr><td>", "</table>", "<p>", "</p>",
    "<div>", "</div>", "<b>", "</b>", "<button>", "</svg>", "</math>", "<svg>", "<math>", "<li>", "<form>", "<o:p>", "<font>",
)  # fmt: skip


def _spelt(rng: random.Random, url: str) -> str:
    """With references for some of its characters."""
    if rng.random() < 0.5:
        return url
    pieces = []
    for character, after in zip(url, url[1:] + ";", strict=False):
        chance = rng.random()
        if chance < 0.15 and after not in "0123456789abcdefABCDEF;":
            pieces.append(rng.choice(("&#{};", "&#0{};", "&#{}")).format(ord(character)))
        elif chance < 0.2:
            pieces.append(f"&#x{ord(character):X};")
        else:
            pieces.append(_NAMED.get(character, character) if chance < 0.3 else character)
    return "".join(pieces)


def _attribute(rng: random.Random, name: str, value: str) -> str:
    value = _spelt(rng, value)
    kind = rng.randrange(4)
    if kind or not value or any(character in value for character in " \t\n\f\r\"'<>=`"):
        value = '"' + value.replace('"', "&quot;") + '"' if kind != 1 else "'" + value.replace("'", "&#39;") + "'"
    return f"{rng.choice(_GAPS)}{rng.choice((name, name, name.upper()))}{rng.choice(('=', '=', '= ', ' ='))}{value}"


def _refresh(rng: random.Random) -> str:
    time = rng.choice(("0", "5", "0.5", ".", "1 ", "", "x", "  3", "0\v", "\u30000", "0\xa0")) + rng.choice(
        (";", ",", " ", "; ")
    )
    content = time + rng.choice(("", "url=", "URL =", " url = ", "url", ' Url="', "url='")) + rng.choice(_URLS)
    return (
        f"<meta http-equiv={rng.choice(('refresh', 'REFRESH', 'ref&#114;esh'))}{_attribute(rng, 'content', content)}>"
    )


def _smil(rng: random.Random) -> str:
    value = rng.choice(("{0}", "a;{0}", "{0};x")).format(rng.choice(_URLS))
    moved = _attribute(rng, rng.choice(("to", "from", "by", "values")), value)
    name = rng.choice(("animate", "set"))
    return (
        f"<svg><a href='#'><{name} attributeName={rng.choice(('href', 'xlink:href'))}{moved} /><text>t</text></a></svg>"
    )


def _conditional(rng: random.Random) -> str:
    opening = f"<!--[if {rng.choice(('mso', 'gte mso 9', '!mso'))}]>{rng.choice(('', '<!-->'))}"
    return (
        f"{opening}<v:rect{_attribute(rng, 'href', rng.choice(_URLS))}>x</v:rect>{rng.choice(('<![endif]-->', '-->'))}"
    )


def _link(rng: random.Random) -> str:
    url = rng.choice(_URLS)
    kind = rng.randrange(24)
    if kind < 8:
        second = rng.choice(("", "", " href=http://second.example/"))
        text = rng.choice(("t", "see www.evil.example/x now", "<b>x</b>"))
        return f"<a{rng.choice(_JUNK)}{_attribute(rng, 'href', url)}{second}{rng.choice(_JUNK)}>{text}{rng.choice(('</a>', ''))}"
    if kind == 8:
        base = rng.choice((url, "http://base.example/d/", "//base.example/", "\\\\base.example", "/rel/"))
        return f"<base{_attribute(rng, 'href', base)}>"
    if kind == 9:
        return _refresh(rng)
    if kind == 10:
        return _smil(rng)
    if kind == 11:
        return _conditional(rng)
    if kind == 12:
        name = rng.choice(_RAW)
        return f"<{name}>{_link(rng)}</{name}>"
    if kind == 13:
        return f"<template{rng.choice(('', ' shadowrootmode=open'))}>{_link(rng)}</template>"
    if kind < 16:
        return (
            rng.choice(("<p>", "（", ">", "go:"))
            + rng.choice(_TEXTS)
            + rng.choice((" now", "。", "）", "&nbsp;x", "<br>", ""))
        )
    if kind < 18:
        return rng.choice(_ODD)
    name, attribute = rng.choice(
        (
            ("area", "href"), ("form", "action"), ("button", "formaction"), ("input", "formaction"), ("iframe", "src"),
            ("object", "data"), ("embed", "src"), ("svg><a", "xlink:href"), ("math><mi", "href"), ("math><base", "href"),
            ("math><set", "href"), ("noscript><a", "href"),
            ("img", "src"), ("link", "href"), ("v:rect", "href"), ("select><option", "value"),
        )
    )  # fmt: skip
    return f"<{name}{_attribute(rng, attribute, url)}>x</{name.partition('>')[0]}>"


def link_document(rng: random.Random) -> str:
    """About 60 to 500 characters."""
    start = rng.choice(("", "<!DOCTYPE html>", "<html><head>", "<meta charset=utf-8>"))
    return start + "".join(_link(rng) for _ in range(rng.choice((1, 2, 3, 4, 6))))

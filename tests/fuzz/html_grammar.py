"""HTML documents for the differential fuzz: pieces that hurt, put together and mutated, each with a link to somewhere foreign."""

from __future__ import annotations

import random

EVIL = "http://evil.example/"

_WS = (" ", "\n", "\t", "\f", "\r\n", "/", " / ")
_HREFS = (
    "http://evil.example/", "//evil.example/a", "HTTP://EVIL.example", "&#104;ttp://evil.example/",
    "http&colon;//evil.example/?a&amp;b", "http:\\\\evil.example", " http://evil.example/ ", "ht\ttp://evil.example/",
    "http://evil.example/?x=1&copy=2", "http://evil.example/?q&#61;1&#x26", "https:evil.example",
    "http:&sol;&sol;evil.example/", "&#x68&#116tp://evil.example/",
)  # fmt: skip
_ATTRIBUTES = ("title", "class", "x", "href2", "data-href", "HREF", "style", "target", "'", '"q', "=z", "<y", "name")
_RAW = (
    "title", "textarea", "style", "xmp", "iframe", "noembed", "noframes", "script", "noscript", "plaintext", "select",
    "template",
)  # fmt: skip
_PLAIN = (
    "p", "b", "div", "table", "tr", "td", "span", "i", "form", "button", "font", "body", "head", "html", "center",
    "ul", "li", "nobr",
)  # fmt: skip
_FOREIGN = (
    "svg", "math", "foreignObject", "desc", "title", "mi", "mtext", "annotation-xml",
    "annotation-xml encoding=text/html", "annotation-xml encoding='text&#47;html'", "mglyph", "malignmark", "g",
    "style", "script", "svg/", "math/", "title/", "font color=x",
)  # fmt: skip
_ODD = (
    "<!-- x --!>", "<!-- --!x-->",
    "<!--", "-->", "--!>", "<!-->", "<!--->", "<![CDATA[", "]]>", "<!DOCTYPE html>", "<!x", "<?php", "</>", "</ >",
    "<", "<3", "</", "&", "\x00", ">", "'", '"', "<a", "<a href", "<a href=", "<a href='", "</a", "<![endif]-->",
    "<![if x]>", "<!-- <!-- ", "--", "-", "!", "<!", "]", "<script><!--", "<!--<script>", "</script>", "</title>",
    "</style ", "</textarea/", "</xmp\n>", "&#", "&#x", "&amp", "&notit;", "<svg><![CDATA[",
    '<!DOCTYPE a PUBLIC \'x\' "y" [>', "<base href=http://evil.example/b/>", "<base target=x>", "text ", "文字",
    "</svg>", "</math>", "<br>", "</p>",
)  # fmt: skip


def _quoted(rng: random.Random, value: str) -> str:
    kind = rng.randrange(5)
    if kind < 2:
        return '"' + value.replace('"', "&quot;") + '"'
    if kind < 4:
        return "'" + value.replace("'", "&#39;") + "'"
    return value if not any(c in value for c in " \t\n\f\r\"'>") else '"' + value + '"'


def _attribute(rng: random.Random) -> str:
    name = rng.choice(_ATTRIBUTES)
    if name == "HREF":
        return "x" if rng.random() < 0.7 else "href=#"
    return (
        name
        + rng.choice(("", "=", " = ", "="))
        + rng.choice(("'>'", '"<a href=x>"', "v", "'<!--'", '""', "a>b"[:1], "`"))
    )


def link(rng: random.Random) -> str:
    """A start tag that leads away, spelt in one of very many ways."""
    kind = rng.randrange(15)
    gap = rng.choice(_WS)
    before = "".join(rng.choice(_WS) + _attribute(rng) for _ in range(rng.choice((0, 0, 0, 1, 2))))
    value = _quoted(rng, rng.choice(_HREFS))
    equals = rng.choice(("=", "=", "=", " = ", "\n=\t"))
    end = rng.choice((">", ">", " >", "\n>", " /> "[:4])) if value[0] in "\"'" else rng.choice((">", " >"))
    after = "".join(rng.choice(_WS) + _attribute(rng) for _ in range(rng.choice((0, 0, 0, 1))))
    duplicate = rng.choice(("", "", "", " href='http://good.example/'", " HREF=#", " href"))
    if kind < 8:
        name, attribute = rng.choice("aaaA"), rng.choice(("href", "HREF", "hReF"))
        return f"<{name}{before}{gap}{attribute}{equals}{value}{duplicate}{after}{end}x</a>"
    if kind == 8:
        return f"<area{gap}href{equals}{value}{end}"
    if kind == 9:
        return f"<form{gap}action{equals}{value}{end}<input></form>"
    if kind == 10:
        return f"<button{gap}formaction{equals}{value}{end}</button>"
    if kind == 11:
        return f"<svg><a{gap}{rng.choice(('xlink:href', 'href'))}{equals}{value}{end}t</a></svg>"
    if kind == 14:
        name, attribute = rng.choice(("mi", "mrow", "a", "mtext")), rng.choice(("href", "xlink:href"))
        return f"<math><{name}{gap}{attribute}{equals}{value}{end}</math>"
    if kind == 12:
        number, mark = rng.choice(("0", "1.5", ".", "9 ")), rng.choice((";", ",", "; "))
        content = number + mark + rng.choice(("", "url=", "URL = ")) + EVIL
        return f"<meta http-equiv={rng.choice(('refresh', 'Refresh'))} content={_quoted(rng, content)}>"
    relative = rng.choice(("a", "", "#x", "?q", "/b", "../c"))
    return f"<base href={_quoted(rng, EVIL)}><a{gap}href{equals}{_quoted(rng, relative)}>r</a>"


_DOCTYPES = (
    "<!DOCTYPE html SYSTEM 'x>' >", '<!DOCTYPE html SYSTEM "x" y>', '<!DOCTYPE html PUBLIC "-//x//y" "z">',
    "<!DOCTYPE a PUBLIC 'x'>",
    "<!doctype html system>", "<!DOCTYPE html PUBLIC", '<!DOCTYPEhtml PUBLIC"a"\'b\'>',
    "<!DOCTYPE html SYSTEM x>", "<!DOCTYPE>",
)  # fmt: skip


_WRAPS = (
    "", "<svg>", "<math>", "<svg><foreignObject>", "<svg><title>", "<svg><desc>", "<math><mtext>",
    "<math><mi>", "<math><mi><mglyph>",
    "<math><annotation-xml encoding=text/html>", "<math><annotation-xml>", "<select>", "<table>",
    "<template>", "<div><svg></div>",
    "<li><math><mi><b></li>", "<svg><p>", "<svg><font size=1>", "<svg><desc><svg>",
)  # fmt: skip
_SWALLOWS = ("<!--", "<a title='", "<![CDATA[", '<b class="', "<style>", "<!-- --!>", "")


_SCRIPTS = ("script><!--<script></script", "script><!--<script>--></script", "script><!--<scriptx></script", "script")


def _raw(rng: random.Random) -> str:
    """Raw text, or what another reading takes for it, that begins something which would swallow what follows."""
    wrap, name, swallow = rng.choice(_WRAPS), rng.choice(_RAW), rng.choice(_SWALLOWS)
    if name == "script" and rng.random() < 0.7:
        end = rng.choice(("</script>", "</script>", "</scriptx>", ""))
        return f"{wrap}<{rng.choice(_SCRIPTS)}>{swallow}{end}"
    end = rng.choice((f"</{name}>", f"</{name.upper()} >", f"</{name}x>", f"</{name}/>", ""))
    return f"{wrap}<{name}>{swallow}{end}"


def piece(rng: random.Random) -> str:
    """Something that changes how what follows is read."""
    kind = rng.randrange(9)
    if kind == 8:
        return _raw(rng)
    if kind < 2:
        return rng.choice(_DOCTYPES if rng.random() < 0.04 else _ODD)
    if kind == 2:
        inside = rng.choice(("", " x", "/", " x='>'"))
        return f"<{rng.choice(_RAW)}{inside}>" + rng.choice(("", "<!--", "<a href=http://good.example/>", "text"))
    if kind == 3:
        return f"</{rng.choice(_RAW)}{rng.choice(('', ' ', '/', ' x'))}>"
    if kind == 4:
        return f"<{rng.choice(_FOREIGN)}>"
    if kind == 5:
        return f"</{rng.choice(_FOREIGN).split()[0].strip('/')}>"
    name = rng.choice(_PLAIN)
    return f"<{rng.choice(('', '', '/'))}{name}{rng.choice(('', '', _attribute(rng).join((' ', ''))))}>"


def document(rng: random.Random) -> str:
    """About 100 to 300 characters."""
    parts = [piece(rng) for _ in range(rng.randrange(1, 8))]
    for _ in range(rng.choice((1, 1, 2))):
        parts.insert(rng.randrange(len(parts) + 1), link(rng))
    text = "".join(parts)
    if rng.random() < 0.25:  # cut, doubled or moved somewhere
        at, other = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        text = rng.choice((text[:at] + text[other:], text[:other] + text[at:], text[other:] + text[:at], text[:other]))
    return text

"""Signs: hints about a URL that need no list. One table of points; each sign says what it saw. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from reputation.brands import Brands, mixes_scripts
from reputation.forms import Forms, Reading
from reputation.hosting import SHARED_HOSTING
from toc.errors import BadUrl
from toc.url import Url, parse, unicode_host
from toc.verdict import Sign

POINTS: Mapping[str, int] = {
    "lookalike": 60,
    "userinfo": 40,
    "obfuscated_ip": 40,
    "mixed_script": 40,
    "first_seen": 30,
    "text_differs": 20,
    "hidden_wrapper": 20,
    "open_redirector": 20,
    "free_hosting": 10,
    "odd_port": 10,
    "punycode": 0,
}
"""Points of each sign (docs/verdict.md). 60 together are suspicious, 100 highly suspicious."""

FIRST_SEEN_HOURS = 24.0
USUAL_PORTS = frozenset({80, 443, 8080, 8443})
REDIRECT_NAMES = frozenset(
    {
        "continue", "dest", "destination", "goto", "link", "next", "out", "r", "redir", "redirect", "redirect_to",
        "redirect_uri", "redirect_url", "return", "return_to", "returnurl", "return_url", "target", "to", "u", "uri", "url",
    }
)  # fmt: skip
"""Query parameters whose value open redirectors follow."""

_ORDINARY_HOST = re.compile(r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}\Z|\[[0-9a-fA-F:.]+\]\Z")
_SPELT_HOST = re.compile(r"\s*[a-zA-Z]+:[/\\]*(?:[^/\\?#@]*@)?(\[[^\]]*\]|[^/\\?#:]*)")


def signs(
    forms: Forms,
    *,
    brands: Brands,
    spelt: str | None = None,
    first_seen_hours: float | None = None,
    text_differs: bool = False,
) -> tuple[Sign, ...]:
    """Every sign of the URL that a browser visits first, and of what lies inside: each kind of sign once.

    spelt:            its spelling in the mail, where known: a browser reads ``0x7f.1`` as 127.0.0.1
    first_seen_hours: since its host first appeared here; None where that is not known
    text_differs:     the link's text showed another host
    """
    url = forms.url
    found = _url_signs(forms.readings[0], brands, spelt)
    if first_seen_hours is not None and first_seen_hours < FIRST_SEEN_HOURS:
        found.append(_sign("first_seen", f"{first_seen_hours:.1f} hours ago"))
    if text_differs:
        found.append(_sign("text_differs", ""))
    if forms.hidden:
        found.append(_sign("hidden_wrapper", url.host))
    if len(forms.readings) > 1:
        for reading in forms.readings[1:]:
            known = {sign.code for sign in found}
            found += [sign for sign in _url_signs(reading, brands, None) if sign.code not in known]
    return tuple(found)


def _url_signs(reading: Reading, brands: Brands, spelt: str | None) -> list[Sign]:
    url = reading.url
    if not reading.is_address:
        found = _host_signs(reading, brands)
    else:
        found = [_sign("obfuscated_ip", url.host)] if spelt is not None and _is_obfuscated(spelt) else []
    if url.userinfo:
        found.append(_sign("userinfo", url.userinfo[:64]))
    if url.port is not None and url.port not in USUAL_PORTS:
        found.append(_sign("odd_port", str(url.port)))
    asks = url.query and ("://" in url.query or "%3A" in url.query or "%3a" in url.query)
    if asks and not reading.wraps:  # what a known wrapper leads to is judged itself
        target = open_redirect_target(url)
        if target is not None:
            found.append(_sign("open_redirector", target.host))
    return found


def may_speak(url: Url) -> bool:
    """Whether anything in `url` beside its host may be a sign: a cheap question that never says no where there is one."""
    query = url.query
    return bool(url.userinfo) or url.port is not None or "://" in query or "%3A" in query or "%3a" in query


def _host_signs(reading: Reading, brands: Brands) -> list[Sign]:
    host = reading.host
    found = []
    if brands.may_imitate(host) and (brand := brands.imitated(host, reading.domain)) is not None:
        found.append(_sign("lookalike", brand.name))
    if "xn--" in host:
        shown = unicode_host(host)
        found.append(_sign("punycode", shown))
        if any(mixes_scripts(label) for label in shown.split(".")):
            found.append(_sign("mixed_script", shown))
    if not SHARED_HOSTING.isdisjoint(reading.suffixes):
        found.append(_sign("free_hosting", reading.domain))
    return found


def open_redirect_target(url: Url) -> Url | None:
    """The URL that an open redirector at `url` would go on to, if a known parameter names one on another domain."""
    for name, value in parse_qsl(url.query[:4096], max_num_fields=None):
        if name.lower() in REDIRECT_NAMES and value[:4].lower() == "http":
            try:
                target = parse(value)
            except BadUrl:
                continue
            if target.domain != url.domain:
                return target
    return None


def _is_obfuscated(spelt: str) -> bool:
    """An address in another spelling than the ordinary one: decimal, hexadecimal, octal, short, percent-encoded."""
    found = _SPELT_HOST.match(spelt)
    return found is not None and bool(found.group(1)) and not _ORDINARY_HOST.match(found.group(1))


def _sign(code: str, detail: str) -> Sign:
    return Sign(code, POINTS[code], detail)

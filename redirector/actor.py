"""Who clicked: a person, a program, or nobody can tell. One ordered table, the first row that fits decides. Pure.

What a browser states about its own request (fetch metadata, W3C) counts more than a user agent, which anybody can set and
which comes last. No person is called automated: where a row could meet one, it says ``uncertain``. The answer is for the
record alone: a scanner gets the same verdict as a person.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = Mapping[bytes, bytes]


class ActorKind(IntEnum):
    PERSON = 0
    AUTOMATED = 1
    UNCERTAIN = 2

    @property
    def code(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Actor:
    """`reason` names the row of the table that decided."""

    kind: ActorKind
    reason: str


_PERSON = ActorKind.PERSON
_AUTOMATED = ActorKind.AUTOMATED
_UNCERTAIN = ActorKind.UNCERTAIN

MAX_AGENT = 512
"""Bytes of a user agent that are looked at: browsers send less than 300."""

_PURPOSES = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_AHEAD_OF_TIME = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)
_AGENT = b"user-agent"
_ACCEPTS = {b"accept", b"accept-language"}
_FRAMES = (b"iframe", b"frame", b"fencedframe", b"embed", b"object")
_LOADS = (b"cors", b"no-cors", b"same-origin", b"websocket")

# Names that crawlers, previews of messengers, mail scanners and HTTP libraries give themselves. "bot" counts only where a
# version, an address or a second name follows, as in Googlebot/2.1: phones of the make CUBOT are held by people. Makers
# of mail scanners also make browsers for managed phones, so their names count only at the start or after "compatible".
_PROGRAMS = re.compile(
    rb"(?<!cu)bot(?:/|-[a-z]|\s*\(|\s+\d|$)|crawler|spider(?:[/;,)-]|\s*\(|$)|slurp|bingpreview|microsoftpreview|mediapartners"
    rb"|facebookexternalhit|facebookcatalog|meta-external|(?:^|\s)whatsapp/|skypeuripreview|slack-imgproxy|line-poker"
    rb"|kakaotalk-scrap|embedly|iframely|vkshare|snap url preview|google-read-aloud|google-safety|googleother"
    rb"|googleimageproxy|yahoomailproxy|google-inspectiontool|chrome-lighthouse|virustotal|urlscan|safebrowsing"
    rb"|headlesschrome|phantomjs|playwright|puppeteer|selenium"
    rb"|(?:^|compatible; )(?:barracuda|mimecast|proofpoint|sophos|mailscanner|symantec|trend ?micro|fortinet|ciscosecure)"
    rb"|^(?:curl|wget|python|aiohttp|httpx|go-http-client|java|apache-httpclient|libwww-perl|lwp|php|ruby|faraday"
    rb"|axios|node|node-fetch|undici|got|powershell|winhttp|httpie|scrapy|postmanruntime|insomnia)\b",
    re.IGNORECASE,
)
# Office opens a link that somebody clicked by itself first, follows it, and gives the browser only the last address.
_OFFICE = re.compile(rb"ms-office|microsoft office|microsoft outlook|\bmsoffice", re.IGNORECASE)
_BROWSER = re.compile(
    rb"^(?:Mozilla/\d\.0 \((?:Windows|Macintosh|X11|Linux|Wayland|iPhone|iPad|iPod|Android|Mobile|Tablet|compatible; MSIE"
    rb"|KAIOS|SMART-TV|PlayStation|Nintendo)|Opera/\d)"
)

_AGENTS = {"office": _OFFICE, "program": _PROGRAMS, "browser": _BROWSER}


def _is_ahead_of_time(_method: str, headers: Headers) -> bool:
    for name in _PURPOSES:
        value = headers.get(name)
        if value is not None and _AHEAD_OF_TIME.search(value):
            return True
    return False


def _is_navigation(_method: str, headers: Headers) -> bool:
    """Safari never sends Sec-Fetch-User."""
    return headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"


@lru_cache(maxsize=4096)
def _kind_of(agent: bytes) -> str:
    for kind, pattern in _AGENTS.items():
        if pattern.search(agent):
            return kind
    return ""


def _says(headers: Headers, kind: str) -> bool:
    return _kind_of(headers.get(_AGENT, b"")[:MAX_AGENT]) == kind


_Row = tuple[ActorKind, str, Callable[[str, Headers], bool]]

TABLE: tuple[_Row, ...] = (
    # RFC 9110 section 9.3: people follow links by GET and press buttons by POST.
    (_AUTOMATED, "method", lambda method, _: method not in ("GET", "POST")),
    (_AUTOMATED, "ahead_of_time", _is_ahead_of_time),
    # A browser without a window; it says so in its client hints even where its user agent was replaced.
    (_AUTOMATED, "headless", lambda _, h: b"Headless" in h.get(b"sec-ch-ua", b"") or b"Headless" in h.get(_AGENT, b"")),
    (_PERSON, "user_activated", lambda _, h: h.get(b"sec-fetch-user") == b"?1"),
    (_PERSON, "navigation", _is_navigation),
    # A web mail's reading pane, or a scanner's rendering.
    (_UNCERTAIN, "frame", lambda _, h: h.get(b"sec-fetch-dest") in _FRAMES),
    # Fetched by a script or as an image: nobody looks at it.
    (_AUTOMATED, "subresource", lambda _, h: h.get(b"sec-fetch-mode") in _LOADS),
    (_UNCERTAIN, "office", lambda _, h: _says(h, "office")),
    (_AUTOMATED, "program", lambda _, h: _says(h, "program")),
    (_AUTOMATED, "bare", lambda _, h: _AGENT not in h and b"accept-language" not in h),
    # Every browser sends Accept (WHATWG Fetch, 4.1), so this is none, though it says so.
    (_AUTOMATED, "false_browser", lambda _, h: not (_ACCEPTS & h.keys()) and _says(h, "browser")),
    (_UNCERTAIN, "no_language", lambda _, h: b"accept-language" not in h),
    (_PERSON, "browser", lambda _, h: _says(h, "browser")),
)
"""Kind, reason, and the test on method and headers; in this order (docs/pages.md)."""


def classify(method: str, headers: Headers, client: str, networks: Sequence[Network], *, burst: bool) -> Actor:
    """Who sent this request.

    headers:  lower-case names
    client:   its address, after listed proxies
    networks: the operator's own scanners, by address
    burst:    the same client asked for many links of one message within seconds
    """
    if networks and _within(client, networks):
        return Actor(_AUTOMATED, "scanner_network")
    for kind, reason, holds in TABLE:
        if holds(method, headers):
            if burst and kind is _PERSON:
                return Actor(_UNCERTAIN, "burst")
            return _ACTORS[reason]
    return _UNKNOWN


_ACTORS = {reason: Actor(kind, reason) for kind, reason, _ in TABLE}
_UNKNOWN = Actor(_UNCERTAIN, "unknown_agent")


def _within(client: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)

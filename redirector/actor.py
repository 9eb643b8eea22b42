"""Who clicked: a person, a program, or nobody can tell. One ordered table, the first row that fits decides. Pure.

What a browser states about itself (fetch metadata, W3C) counts more than a user agent, which anybody can set. No person is
called automated: where a row could meet one, it says ``uncertain``. A scanner gets the same verdict as a person.
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
    kind: ActorKind
    reason: str


_PERSON = ActorKind.PERSON
_AUTOMATED = ActorKind.AUTOMATED
_UNCERTAIN = ActorKind.UNCERTAIN

_PREFETCH = (b"prefetch", b"prerender", b"preview")
_SCANNERS = re.compile(
    rb"bot\b|bot/|crawl|spider|slurp|facebookexternalhit|facebookcatalog|WhatsApp/|Slackbot|Slack-ImgProxy|SkypeUriPreview"
    rb"|TelegramBot|Discordbot|LinkedInBot|Twitterbot|Line-?spider|facebot|BingPreview|MicrosoftPreview|Mimecast|BarracudaCentral"
    rb"|Proofpoint|urldefense|Sophos|MailScanner|safebrowsing|GoogleImageProxy|YahooMailProxy|Google-Read-Aloud|Google-Safety"
    rb"|ZoomInfo|Iframely|Embedly|Bytespider|python-requests|python-urllib|aiohttp|httpx/|curl/|Wget/|Go-http-client|Java/"
    rb"|okhttp/|libwww-perl|PowerShell/|axios/|node-fetch|undici|HeadlessChrome|PhantomJS|Playwright|HTTPie|Scrapy",
    re.IGNORECASE,
)
_BROWSER = re.compile(rb"^Mozilla/5\.0 \((?:Windows|Macintosh|X11|Linux|iPhone|iPad|iPod|Android|Mobile|Wayland)")

_Row = tuple[ActorKind, str, Callable[[str, Headers], bool]]


def _is_prefetch(_method: str, headers: Headers) -> bool:
    for name in (b"sec-purpose", b"purpose", b"x-moz", b"x-purpose"):
        value = headers.get(name)
        if value is not None and any(word in value.lower() for word in _PREFETCH):
            return True
    return False


TABLE: tuple[_Row, ...] = (
    (_AUTOMATED, "head", lambda method, _: method == "HEAD"),
    (_AUTOMATED, "prefetch", _is_prefetch),
    (_AUTOMATED, "scanner_agent", lambda _, h: _SCANNERS.search(h.get(b"user-agent", b"")) is not None),
    (_PERSON, "user_activated", lambda _, h: h.get(b"sec-fetch-user") == b"?1"),
    (
        _PERSON,
        "navigation",
        lambda _, h: h.get(b"sec-fetch-mode") == b"navigate" and h.get(b"sec-fetch-dest") == b"document",
    ),
    (_UNCERTAIN, "frame", lambda _, h: h.get(b"sec-fetch-dest") in (b"iframe", b"frame", b"embed", b"object")),
    (_AUTOMATED, "subresource", lambda _, h: h.get(b"sec-fetch-mode") in (b"cors", b"no-cors", b"websocket")),
    (_AUTOMATED, "no_agent", lambda _, h: not h.get(b"user-agent")),
    (_AUTOMATED, "no_accept", lambda _, h: b"accept" not in h and b"accept-language" not in h),
    (_UNCERTAIN, "no_language", lambda _, h: b"accept-language" not in h),
    (_PERSON, "browser_agent", lambda _, h: _BROWSER.match(h.get(b"user-agent", b"")) is not None),
)
"""Kind, reason, and the test on method and headers; in this order."""


def classify(method: str, headers: Headers, client: str, networks: Sequence[Network], *, burst: bool) -> Actor:
    """Who sent this request.

    headers:  lower-case names
    networks: the operator's own scanners, by address
    burst:    the same client asked for many links of one message within seconds
    """
    if networks and _within(client, tuple(networks)):
        return Actor(_AUTOMATED, "scanner_network")
    for kind, reason, holds in TABLE:
        if holds(method, headers):
            if burst and kind is _PERSON and reason != "user_activated":
                return Actor(_UNCERTAIN, "burst")
            return Actor(kind, reason)
    return Actor(_UNCERTAIN, "unknown_agent")


@lru_cache(maxsize=4096)
def _within(client: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    return any(address in network for network in networks)

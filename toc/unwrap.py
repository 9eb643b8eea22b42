"""Other vendors' wrapped links: recognised by exact host and path, opened offline, layer by layer. A table.

Knows the shapes of wrappers; knows no verdict and no network. The wrapper stays a link's target: this module only says
what lies inside, so that each layer can be judged. A vendor's host is never a reason to trust a link. One row of
`TABLE` per shape; docs/wrappers.md shows them.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from toc.errors import BadUrl
from toc.url import Url, parse

MAX_DEPTH = 5
"""Wrappers inside wrappers that are opened. More of them are left closed: the target counts as hidden."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A wrapper that was opened, or recognised as one that hides its target: `url` is the wrapper's own, serialised."""

    vendor: str
    url: str


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """What lies inside a URL.

    target: the innermost URL, serialised; the URL itself where nothing wraps it; None where a wrapper hides it, is
            broken or ambiguous, or where the URL is none that a browser would visit
    layers: the wrappers, the outermost first; empty where nothing wraps the URL
    hint:   the host that a wrapper names without saying more (Mimecast)
    """

    target: str | None
    layers: tuple[Layer, ...] = ()
    hint: str | None = None


Opener = Callable[[Url, re.Match[str]], str | None]
"""From the wrapper's URL and the match of its path to the spelling of the target; None where it can't be known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One shape of one vendor's links.

    domains: the last two labels of its hosts
    host: matched against the whole host
    path: matched against the whole path, percent-encoded as in the URL
    hint: the query parameter that names the host, where the target is hidden
    """

    vendor: str
    domains: frozenset[str]
    host: re.Pattern[str]
    path: re.Pattern[str]
    open: Opener
    hint: str | None = None


def unwrap(url: str) -> Unwrapped:
    """What lies inside `url`. Never raises: a URL that no browser would visit has no target and no layers."""
    try:
        return unwrap_url(parse(url))
    except BadUrl:
        return Unwrapped(None)


def unwrap_url(url: Url) -> Unwrapped:
    """`unwrap` of a parsed URL. No network; at most `MAX_DEPTH` layers."""
    row = _row_of(url)
    if row is None:
        return Unwrapped(url.href)
    layers: list[Layer] = []
    current = url
    while row is not None:
        if len(layers) == MAX_DEPTH:
            return Unwrapped(None, tuple(layers))
        layers.append(Layer(row[0].vendor, current.href))
        inner = _inner(current, *row)
        if inner is None:
            hint = _one(current.query, row[0].hint) if row[0].hint else None
            return Unwrapped(None, tuple(layers), hint)
        current = inner
        row = _row_of(current)
    return Unwrapped(current.href, tuple(layers))


def inner_urls(url: Url) -> list[Url]:
    """What each layer leads to, the outermost first; empty where nothing wraps `url`, or where its wrapper hides it."""
    found = unwrap_url(url)
    inside = [layer.url for layer in found.layers[1:]]
    if found.layers and found.target is not None:
        inside.append(found.target)
    return [parse(each) for each in inside]


def may_wrap(url: Url) -> bool:
    """Whether `url` may be a wrapper: a cheap question that never says no where it is one."""
    return url.host.endswith(_ENDINGS) or url.path.startswith(ANY_HOST_PATH)


def _row_of(url: Url) -> tuple[Row, re.Match[str]] | None:
    host = url.host.removesuffix(".")  # the root of DNS: the same host
    rows = _BY_DOMAIN.get(".".join(host.rsplit(".", 2)[-2:]), ())
    for row in rows:
        if row.host.fullmatch(host) and (match := row.path.fullmatch(url.path)):
            return row, match
    if url.path.startswith(ANY_HOST_PATH):
        for row in _ANY_HOST:
            if match := row.path.fullmatch(url.path):
                return (row, match) if "fewReq=" in url.query else None
    return None


def _inner(url: Url, row: Row, match: re.Match[str]) -> Url | None:
    try:
        spelt = row.open(url, match)
        return parse(spelt) if spelt else None
    except (BadUrl, ValueError, binascii.Error, RecursionError):  # the last one from JSON in JSON in JSON
        return None


# How a target is spelt


def _raw(query: str, name: str) -> str | None:
    """The value of the parameter `name` as spelt; None where it does not stand there exactly once."""
    fields = (field.partition("=") for field in query.split("&"))
    values = [value for key, _, value in fields if (_text(key) if "%" in key else key) == name]
    return values[0] if len(values) == 1 else None


def _text(raw: str) -> str:
    """Percent-decoded once, as UTF-8."""
    return unquote_to_bytes(raw).decode("utf-8", "replace")


def _one(query: str, name: str) -> str | None:
    raw = _raw(query, name)
    return None if raw is None else _text(raw)


def _parameter(name: str) -> Opener:
    """The target is the percent-encoded parameter `name`; empty counts as hidden."""
    return lambda url, match: _one(url.query, name)


def _hidden(url: Url, match: re.Match[str]) -> str | None:
    return None


def _plain_rest(url: Url, match: re.Match[str]) -> str | None:
    """``u=`` and the target: percent-encoded once, or as it is; then its own ``&`` and ``#`` belong to it."""
    raw = _raw(url.query, "u")
    if raw is None or not re.match(r"https?://", raw, re.IGNORECASE):
        return None if raw is None else _text(raw)
    tail = url.query.partition(raw)[2]
    return raw + tail + (f"#{url.fragment}" if url.fragment else "")


def _base64(text: str) -> bytes:
    """Decodes base64 or base64url, with or without padding. Raises ValueError for anything else."""
    text = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _proofpoint_v1(url: Url, match: re.Match[str]) -> str | None:
    query = url.query.replace("&amp;", "&")
    target = _one(query, "u")
    return html.unescape(target) if target else None


def _proofpoint_v2(url: Url, match: re.Match[str]) -> str | None:
    raw = _raw(url.query.replace("&amp;", "&"), "u")
    return None if raw is None else _text(raw.replace("-", "%").replace("_", "/"))


_RUN_LENGTHS = {
    sign: length
    for length, sign in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", start=2)
}
_HOLE = re.compile(rb"\*(?:\*([A-Za-z0-9_\-]))?")
_LOST_SLASH = re.compile(r"(https?):/(?!/)", re.IGNORECASE)


def _proofpoint_v3(url: Url, match: re.Match[str]) -> str | None:
    """Holes in the target are filled from a string of bytes: ``*`` takes one, ``**X`` as many as X stands for."""
    spelt = url.href[url.href.index("/v3/__") + 6 :]
    body, mark, rest = spelt.rpartition("__;")
    encoded, bang, _ = rest.partition("!")
    if not mark or not bang:
        return None
    filler = _base64(encoded)
    at = 0

    def fill(hole: re.Match[bytes]) -> bytes:
        nonlocal at
        length = _RUN_LENGTHS[hole.group(1).decode("ascii")] if hole.group(1) else 1
        piece = filler[at : at + length]
        at += length
        if len(piece) != length:
            raise ValueError("the filler is too short")
        return piece

    whole = _HOLE.sub(fill, body.encode("utf-8"))
    if at != len(filler):
        raise ValueError("the filler is too long")
    return _LOST_SLASH.sub(r"\1://", whole.decode("utf-8"), count=1)


def _cisco(url: Url, match: re.Match[str]) -> str | None:
    target = _text(match.group("target"))
    return _text(target) if re.match(r"https?%3a", target, re.IGNORECASE) else target


def _sophos(url: Url, match: re.Match[str]) -> str | None:
    raw = _one(url.query, "u")
    return _base64(raw).decode("utf-8") if raw else None


def _avanan(url: Url, match: re.Match[str]) -> str | None:
    spelt = url.href[len(url.href) - len(url.href.partition("/v2/")[2]) :]
    target = re.fullmatch(r"(?:r01/)?___(.*)___\.[A-Za-z0-9+/=_:\-]+", spelt)
    return _LOST_SLASH.sub(r"\1://", target.group(1), count=1) if target else None


def _mailinblack(url: Url, match: re.Match[str]) -> str | None:
    raw = _one(url.query, "key")
    if not raw:
        return None
    content = json.loads(_base64(raw))
    target = content.get("url") if isinstance(content, dict) else None
    return target if isinstance(target, str) else None


def _row(vendor: str, host: str, path: str, opener: Opener, hint: str | None = None) -> Row:
    """`host`: space-separated patterns of one host each, in which a dot is a dot and ``*`` stands for what varies."""
    names = host.split()
    domains = frozenset(".".join(name.rsplit(".", 2)[-2:]) for name in names)
    pattern = "|".join(
        re.escape(n).replace(r"\*\*", r"(?:[a-z0-9-]+\.)*[a-z0-9-]+").replace(r"\*", "[a-z0-9-]+") for n in names
    )
    return Row(vendor, domains, re.compile(pattern), re.compile(path), opener, hint)


_PROOFPOINT = "urldefense.com urldefense.us urldefense.proofpoint.com"

TABLE: tuple[Row, ...] = (
    _row(
        "safelinks",
        "**.safelinks.protection.outlook.com **.safelinks.protection.office365.us",
        r"/|/ap/[a-z]-[^/]*/?",
        _parameter("url"),
    ),
    _row("proofpoint", "urldefense.proofpoint.com", r"/v1/url", _proofpoint_v1),
    _row("proofpoint", _PROOFPOINT, r"/v2/url", _proofpoint_v2),
    _row("proofpoint", _PROOFPOINT, r"/v3/__.*", _proofpoint_v3),
    _row("barracuda", "linkprotect.cudasvc.com", r"/url", _parameter("a")),
    _row("mimecast", "protect-*.mimecast.com", r"/s/[^/]+", _hidden, "domain"),
    _row("mimecast", "url.*.m.mimecastprotect.com", r"/s/[^/]+", _hidden, "domain"),
    _row("cisco", "secure-web.cisco.com", r"/[^/]+/(?P<target>(?i:https?%(?:25)?3A)[^/]+)", _cisco),
    _row("sophos", "**.protection.sophos.com", r"/", _sophos),
    _row("trendmicro", "*-ctp.trendmicro.com", r"/wis/clicktime/v[12]/query", _parameter("url")),
    _row("trendmicro", "cas5-0-urlprotect.trendmicro.com", r"/wis/clicktime/v[12]/query", _parameter("url")),
    _row("google", "www.google.com", r"/url", _parameter("q")),
    _row("fireeye", "protect2.fireeye.com", r"(?:/v1)?/url", _parameter("u")),
    _row("symantec", "clicktime.symantec.com", r"/a/1/[^?]+|/[A-Za-z0-9_-]+", _plain_rest),
    _row("checkpoint", "url.avanan.click", r"/v2/(?:r01/)?___.*", _avanan),
    _row(
        "checkpoint",
        "checkpoint.url-protection.com avanan.url-protection.com",
        r"/v1/(?:r01/)?url",
        _parameter("o"),
    ),
    _row("hornetsecurity", "atpscan.global.hornetsecurity.com", r"/", _parameter("u")),
    _row("edgepilot", "link.edgepilot.com", r"/s/[0-9a-f]{8}/[^/]+|/x/[^/]+", _plain_rest),
    _row("vade", "antiphishing.vadesecure.com", r"/v4", _parameter("u")),
    _row(
        "vade",
        "m365.eu.vadesecure.com m365.us.vadesecure.com gws.eu.vadesecure.com",
        r"/safeproxy/v[34]",
        _parameter("u"),
    ),
    _row("trustwave", "scanmail.trustwave.com", r"/", _parameter("u")),
    _row("esva", "urlsand.esvalabs.com", r"/", _parameter("u")),
    _row("mailinblack", "mibc-fr-*.mailinblack.com", r"/securelink/?", _mailinblack),
    _row("intermedia", "url.emailprotection.link", r"/", _hidden),
)

ANY_HOST_PATH = "/fmlurlsvc/"
_ANY_HOST = (_row("fortimail", "**.*", r"/fmlurlsvc/", _parameter("url")),)
"""FortiMail runs on its owner's host: the path and the parameter `fewReq` tell it."""
ANY_HOST_VENDORS = frozenset(row.vendor for row in _ANY_HOST)

_BY_DOMAIN: dict[str, tuple[Row, ...]] = {
    domain: tuple(row for row in TABLE if domain in row.domains) for domain in {d for row in TABLE for d in row.domains}
}
"""The rows by the last two labels of the host: nearly every URL is done after one look into this."""

_ENDINGS = (*_BY_DOMAIN, *(f"{domain}." for domain in _BY_DOMAIN))

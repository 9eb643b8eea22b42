"""Under which spellings a URL may stand on a list. Knows Safe Browsing's rules and the layers of a URL; knows no list.

    Url ─▶ Forms ─▶ readings: the URL itself, the URL inside each vendor's wrapper, the other reading of its boundary
                    each reading ─▶ host and its parent hosts (for host entries)
                                 ─▶ expressions: host suffix + path prefix (for URL entries)

Safe Browsing's canonical form differs from WHATWG's on purpose: it unescapes until nothing is left to unescape, and
drops port, userinfo and fragment. What a browser visits is `toc.url`'s affair; this module never decides that.
Source of the rules: Safe Browsing "URLs and Hashing" and Google's Go client.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from reputation.addresses import plain_address
from toc.errors import BadUrl
from toc.unwrap import ANY_HOST_VENDORS, may_wrap, unwrap_url
from toc.url import Url, parse, registrable_domain, unicode_host

MAX_HOST = 253
"""A DNS name is not longer (RFC 1035 section 2.3.4, less length octets): longer hosts are looked up by their tail."""

_HOST_SUFFIXES = 4  # beside the host itself: Safe Browsing, "starting with the last five components"
_PATH_PREFIXES = 4  # "/", "/a/", "/a/b/", "/a/b/c/"
_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):(?!\d+(?:/|\Z))")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(rb"[\x00-\x20\x7f-\xff#%]")


class Canonical(NamedTuple):
    """Safe Browsing's canonical parts, ASCII. `query` has no ``?`` and is empty also where there is none."""

    scheme: str
    host: str
    path: str
    query: str


def canonical(url: bytes | str) -> str:
    """Safe Browsing's canonical URL: scheme, host and path; the query stands in the expressions only (Go client).

    Raises BadUrl where there is no host, or a scheme without ``//``.
    """
    parts = canonical_parts(url)
    return f"{parts.scheme}://{parts.host}{parts.path}"


def expressions(url: bytes | str) -> list[str]:
    """Up to 30 host-suffix/path-prefix expressions of `url`, the most exact one first. Raises BadUrl as `canonical`."""
    parts = canonical_parts(url)
    paths = _paths(parts.path, parts.query)
    return [host + path for host in lookup_hosts(parts.host) for path in paths]


@lru_cache(maxsize=1024)
def canonical_parts(url: bytes | str) -> Canonical:
    raw = url.encode("utf-8", "surrogatepass") if isinstance(url, str) else url
    raw = raw.partition(b"#")[0].strip().translate(None, b"\t\r\n")
    raw = _escape(_unescape(raw))
    scheme, rest = b"http", raw
    if found := _SCHEME.match(raw):
        scheme, rest = found.group(1).lower(), raw[found.end() :]
        if not rest.startswith(b"//"):
            raise BadUrl("no // after the scheme")
        rest = rest[2:]
    rest, _, query = rest.partition(b"?")
    authority, slash, path = rest.partition(b"/")
    host = _host(authority)
    if not host:
        raise BadUrl("the URL has no host")
    return Canonical(scheme.decode(), host, _clean_path((slash + path).decode()), query.decode())


def _unescape(raw: bytes) -> bytes:
    """Percent-decode until nothing is left to decode.

    Escapes cannot overlap, so one pass with a stack reaches the same end as repeated passes, in linear time; repeated
    passes would be quadratic on ``%2525252525…``.
    """
    if b"%" not in raw:
        return raw
    once = _ESCAPE.sub(lambda found: bytes((int(found.group(1), 16),)), raw)
    if b"%" not in once:
        return once
    out = bytearray()
    for byte in once:
        out.append(byte)
        while len(out) > 2 and out[-3] == 0x25 and _ESCAPE.fullmatch(out[-3:]):
            out[-3:] = bytes((int(out[-2:], 16),))
    return bytes(out)


def _escape(raw: bytes) -> bytes:
    return _TO_ESCAPE.sub(lambda found: b"%%%02X" % found.group()[0], raw)


def _host(authority: bytes) -> str:
    host = authority.rpartition(b"@")[2].lower()
    if not host.startswith(b"["):
        host = re.sub(rb":\d*\Z", b"", host)
    else:
        host = host.partition(b"]")[0] + b"]"
    text = plain_host(host.decode())
    return ipv4(text) or text


def plain_host(host: str) -> str:
    """`host` (lower case) without leading, trailing and doubled dots."""
    if ".." not in host and host[:1] != "." and host[-1:] != ".":
        return host
    return ".".join(filter(None, host.split(".")))


def _clean_path(path: str) -> str:
    """``/./`` and ``/../`` resolved, runs of slashes made one, a trailing slash kept."""
    if not path:
        return "/"
    clean = posixpath.normpath(path).lstrip("/")
    return f"/{clean}/" if clean and path.endswith("/") else f"/{clean}"


def ipv4(text: str) -> str:
    """The dotted address that inet_aton reads in `text`: octal, hexadecimal, fewer than four parts; ``""`` for none."""
    # Windows' resolver takes "10.192.95.89 xy", so Safe Browsing does.
    parts = text.partition(" ")[0].split(".")
    if len(parts) > 4:
        return ""
    numbers = [_number(part) for part in parts]
    if None in numbers:
        return ""
    *heads, last = [number or 0 for number in numbers]
    if any(head > 255 for head in heads) or last >= 256 ** (4 - len(heads)):
        return ""
    value = last + sum(head << (24 - 8 * place) for place, head in enumerate(heads))
    return ".".join(str(byte) for byte in value.to_bytes(4, "big"))


def _number(text: str) -> int | None:
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", text):
        return int(text, 16)
    if re.fullmatch(r"0[0-7]{0,16}", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,15}", text) else None


def lookup_hosts(host: str) -> list[str]:
    """Safe Browsing's host suffixes: the host, and up to four of its last five labels; of an address only itself."""
    if is_address(host):
        return [host]
    labels = host.split(".")
    first = max(len(labels) - _HOST_SUFFIXES - 1, 1)
    return [host, *(".".join(labels[at:]) for at in range(first, len(labels) - 1))]


def host_suffixes(host: str) -> tuple[str, ...]:
    """`host` and every parent host down to the single label; of an address only itself. At most 127, as DNS allows."""
    return (host,) if is_address(host) else _parents(host)


def _parents(host: str) -> tuple[str, ...]:
    suffixes = [host]
    tail = host[-MAX_HOST:].partition(".")[2]
    while tail:
        suffixes.append(tail)
        tail = tail.partition(".")[2]
    return tuple(suffixes)


def is_address(host: str) -> bool:
    """Whether `host` (as `toc.url` serialises it) is an IP address: it has no parents then."""
    return host[:1] == "[" or (host[-1:].isdigit() and ipv4(host) == host)


def _paths(path: str, query: str) -> list[str]:
    """The path with query, the path alone, then its prefixes from the longest to the root."""
    found = [f"{path}?{query}"] if query else []
    found.append(path)
    prefixes: list[str] = []
    at = 0
    while len(prefixes) < _PATH_PREFIXES and (at := path.find("/", at) + 1):
        prefixes.append(path[:at])
    found.extend(prefix for prefix in reversed(prefixes) if prefix != path)
    return found


class Hashed(NamedTuple):
    """What the lists of one installation ask for: the hash of each of `keys` under their common salt."""

    seed: bytes
    hashes: list[int]
    keys: tuple[str, ...]


class Reading:
    """One URL to look up, and the name under which a match in it is reported.

    name:  empty for the URL itself, else ``layer:<vendor>`` or ``other_reading``
    host:  of the URL, without stray dots; an IPv4 address inside an IPv6 one as the former
    is_address: whether that is an IP address
    suffixes: the host and its parents (`host_suffixes`)
    wraps: it is another vendor's wrapper: what it leads to is a reading of its own, or hidden
    decides: a click may end there: not at a vendor's own host that leads on to the next reading
    hashed: what `reputation.index` made of them for one list: the next one needs the same
    """

    __slots__ = ("_expressions", "decides", "hashed", "host", "is_address", "name", "suffixes", "url", "wraps")

    def __init__(self, url: Url, name: str = "", *, wraps: bool = False, decides: bool = True) -> None:
        self.url = url
        self.name = name
        self.wraps = wraps
        self.decides = decides
        self.host = plain_address(url.host) if url.host[:1] == "[" else plain_host(url.host)
        self.is_address = is_address(self.host)
        self.suffixes = (self.host,) if self.is_address else _parents(self.host)
        self.hashed: Hashed | None = None
        self._expressions: list[str] | None = None

    @property
    def domain(self) -> str:
        """The registrable domain; the host itself where there is none."""
        return registrable_domain(self.host)

    @property
    def expressions(self) -> list[str]:
        """Made when first asked for: most look-ups end at the host. Empty where the host is nothing but dots."""
        if not self.host:
            return []
        if self._expressions is None:
            path = self.url.path
            if "%" in path or "//" in path or "/." in path or "%" in self.url.query:
                parts = canonical_parts(self.url.href)
                paths = _paths(parts.path, parts.query)
            else:
                paths = _paths(path, self.url.query)
            self._expressions = [host + path for host in lookup_hosts(self.host) for path in paths]
        return self._expressions

    def under(self, host: str) -> list[str]:
        """The expressions that begin with exactly `host`."""
        start = host + "/"
        return [expression for expression in self.expressions if expression.startswith(start)]


class Forms(NamedTuple):
    """Every form of one URL. `readings` begins with the URL itself; `hidden`: a wrapper does not show its target."""

    url: Url
    readings: tuple[Reading, ...]
    hidden: bool = False

    @property
    def domain(self) -> str:
        return self.url.domain

    def names(self) -> tuple[str, ...]:
        """The forms as a person would like to read them, without repetition: for `Verdict.forms`."""
        return tuple(dict.fromkeys(self._names()))

    def _names(self) -> Iterator[str]:
        for reading in self.readings:
            yield reading.url.href
            yield canonical(reading.url.href)
            yield reading.host
            yield unicode_host(reading.host)
            yield reading.url.domain
            yield from reading.expressions


def forms(url: Url, other: str | None = None) -> Forms:
    """All forms of `url`; `other` is the other reading of an ambiguous boundary, as it was sealed. Never raises."""
    if not other and not may_wrap(url):  # as nearly every one
        return Forms(url, (Reading(url),))
    found, hidden = _layers(url, "")
    if other:
        try:
            second = parse(other)
        except BadUrl:  # sealed by an older version with other rules: the first reading still stands
            return Forms(url, tuple(found), hidden)
        found += _layers(second, "other_reading")[0]
    return Forms(url, tuple(found), hidden)


def _layers(url: Url, name: str) -> tuple[list[Reading], bool]:
    """The URL and what lies inside other vendors' wrappers, the outermost first, each under the vendor that held it."""
    found = unwrap_url(url)
    if not found.layers:
        return [Reading(url, name)], False
    readings: list[Reading] = []
    label = name
    for layer in found.layers:
        anybody = layer.vendor in ANY_HOST_VENDORS  # a host that only looks like a wrapper may lead anywhere
        readings.append(Reading(parse(layer.url), label, wraps=True, decides=anybody))
        label = name or f"layer:{layer.vendor}"
    if found.target is not None:
        readings.append(Reading(parse(found.target), label))
    else:
        readings[-1].decides = True  # the innermost wrapper hides its target
    return readings, found.target is None

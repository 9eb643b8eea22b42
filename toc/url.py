"""The one URL parser: what a browser would visit. Knows WHATWG URLs and public suffixes; no list, no link of ours.

Every URL that the project judges, seals or shows went through `parse`. The parser is ada-url, because urllib and yarl
disagree with browsers on hostile spellings (``http:\\\\evil``, ``https:evil``, ``0x7f.1``, ``a\\@b``).
"""

from __future__ import annotations

import ipaddress
import re
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import ada_url
import tldextract

from toc.errors import BadUrl
from toc.query_encoding import encode_query

MAX_URL = 8192
"""Bytes of a serialised URL that we are ready to seal (docs/limits.md)."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_TAB_OR_NEWLINE = str.maketrans("", "", "\t\n\r")
_CANONICAL = re.compile(
    r"https?://(?:(?!xn--)[a-z0-9](?:[a-z0-9-]*+(?<!-))?+\.)++(?!xn--)[a-z][a-z-]*+(?<!-)"
    r"(?:/(?!\.|%2[eE])[A-Za-z0-9_~!$&'()*+,;=:@%.-]*+)++"
    r"(?:\?[A-Za-z0-9_~!$&()*+,;=:@/?%.-]++)?+(?:\#[A-Za-z0-9_~!$&'()*+,;=:@/?%.-]++)?+\Z"
)
"""What nearly every URL looks like that needs no parser: it is its own serialisation (tests/toc/test_url.py proves it)."""

_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}\Z")


class Url(NamedTuple):
    """An absolute http(s) URL in WHATWG serialisation.

    href:     the serialisation, ASCII
    scheme:   ``http`` or ``https``
    host:     ASCII host: A-labels, dotted IPv4, or IPv6 in brackets
    port:     None where it is the scheme's default
    path:     begins with ``/``
    query:    without ``?``; empty also where there is none
    fragment: without ``#``
    userinfo: ``user:password`` as spelt, empty where there is none
    """

    href: str
    scheme: str
    host: str
    port: int | None
    path: str
    query: str
    fragment: str
    userinfo: str

    @property
    def is_ip(self) -> bool:
        return self.host.startswith("[") or _IPV4.match(self.host) is not None

    @property
    def domain(self) -> str:
        """The registrable domain; the host itself where there is none (IP addresses, single labels, suffixes)."""
        return registrable_domain(self.host)


def serialise(text: str, base: str | None = None, encoding: str = "utf-8") -> str:
    """Parse `text` against `base` as the WHATWG basic URL parser does and serialise it.

    Any scheme is accepted. `encoding` is the document's charset as in `encode_query`, used for the query of special URLs
    only (WHATWG URL, "percent-encode after encoding").

    Raises BadUrl where a browser would not get a URL out of it.
    """
    if _CANONICAL.match(text):
        return text
    text = _SURROGATE.sub("\ufffd", text)
    if encoding != "utf-8" and "?" in text and not text.isascii():
        text = _encode_query(text, base, encoding)
    try:
        if base is None:
            return str(ada_url.URL(text).href)
        return str(ada_url.URL(text, base).href)
    except ValueError:
        raise BadUrl("not a URL") from None


def parse(text: str, base: str | None = None, encoding: str = "utf-8") -> Url:
    """The absolute http(s) URL that a browser would visit for `text`. Raises BadUrl for anything else."""
    if _CANONICAL.match(text):
        return _cut(text)
    return _parts(serialise(text, base, encoding))


def parse_serialised(href: str) -> Url:
    """The parts of a URL that `serialise` wrote once and that was sealed since. Raises BadUrl for what cannot be one."""
    if not (href.isascii() and href.isprintable()):
        raise BadUrl("not a serialised URL")
    return _parts(href)  # hardly ever the same one twice: a cache would only be churned


_ORDINARY = re.compile(r"https?://[^/@:\[?#]+/")
_PARTS = re.compile(
    r"(https?)://(?:([^/?#@]*)@)?(\[[^\]]*\]|[^:/?#]+)(?::(\d+))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?\Z", re.DOTALL
)


def _parts(href: str) -> Url:
    return _cut(href) if _ORDINARY.match(href) else _parts_of_any(href)


def _cut(href: str) -> Url:
    """The parts of an ordinary one, with neither port nor userinfo: costs half."""
    scheme, _, rest = href.partition("://")
    host, _, rest = rest.partition("/")
    rest, _, fragment = rest.partition("#")
    path, _, query = rest.partition("?")
    return Url(href, scheme, host, None, "/" + path, query, fragment, "")


def _parts_of_any(href: str) -> Url:
    """The parts of a serialised URL. Its shape is known by now, so that the parser need not be asked once more."""
    found = _PARTS.match(href)
    if found is None:
        scheme = href.partition(":")[0]
        raise BadUrl(f"scheme {scheme[:32]!r} is not http or https", scheme=scheme[:32])
    scheme, userinfo, host, port, path, query, fragment = found.groups()
    return Url(href, scheme, host, int(port) if port else None, path, query or "", fragment or "", userinfo or "")


def _encode_query(text: str, base: str | None, encoding: str) -> str:
    """Percent-encode the non-ASCII characters of the query by `encoding`, where the URL is a special one."""
    scheme = re.match(r"[\x00-\x20]*([a-zA-Z][a-zA-Z0-9+.\-]*):", text.translate(_TAB_OR_NEWLINE))
    special = scheme.group(1).lower() if scheme else (base or "").partition(":")[0]
    if special not in ("http", "https", "ftp", "file"):
        return text
    head, mark, fragment = text.partition("#")
    path, question, query = head.partition("?")
    return path + question + encode_query(query, encoding) + mark + fragment


def unicode_host(host: str) -> str:
    """The host with its A-labels shown as Unicode (UTS #46, ToUnicode); itself where that fails."""
    if "xn--" not in host:
        return host
    try:
        return str(ada_url.idna_to_unicode(host.encode("ascii")))
    except (ValueError, UnicodeError):
        return host


def ascii_host(text: str) -> str | None:
    """`text` as a browser would write it in the host of an http URL; None where it is no host."""
    try:
        url = parse(f"http://{text}/")
    except BadUrl:
        return None
    return None if url.userinfo or url.port or url.path != "/" or url.query or url.fragment else url.host


def host_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that `host` (of a `Url`) is, or None."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


_suffix_file: Path | None = None


def use_suffix_list(path: Path) -> None:
    """Read public suffixes from an operator's newer list instead of the one shipped with tldextract."""
    global _suffix_file
    _suffix_file = path
    _extractor.cache_clear()
    public_suffixes.cache_clear()
    _rules.cache_clear()
    is_public_suffix.cache_clear()


@cache
def _extractor() -> tldextract.TLDExtract:
    # Its default constructor would fetch the list from the network and write a cache.
    urls = (_suffix_file.as_uri(),) if _suffix_file else ()
    return tldextract.TLDExtract(
        suffix_list_urls=urls, cache_dir=None, fallback_to_snapshot=True, include_psl_private_domains=True
    )


_RULE, _WILDCARD, _EXCEPTION, _UNKNOWN = 1, 2, 4, 8
_RULE_KINDS = {"": _RULE, "*.": _WILDCARD, "!": _EXCEPTION}


@cache
def _rules() -> dict[str, int]:
    """What the list says of each name, with A-labels: ``*.ck`` is a wildcard at ``ck``; 0 where only longer names have rules."""
    found: dict[str, int] = {}
    for rule in _extractor()._get_tld_extractor().tlds(include_psl_private_domains=True):
        plain = rule.lstrip("!*.")
        kind = _RULE_KINDS.get(rule[: len(rule) - len(plain)], 0)
        name = plain if plain.isascii() else str(ada_url.idna_to_ascii(plain).decode("ascii"))
        found[name] = found.get(name, 0) | kind
        while name := name.partition(".")[2]:
            found.setdefault(name, 0)
    return found


def registrable_domain(host: str) -> str:
    """The registrable domain (public suffix and one label, private suffixes such as github.io counted); else `host`.

    publicsuffix.org's algorithm over the rules of tldextract, whose own look-up costs ten times as much: the longest rule
    wins, an exception beats all, and where no rule matches the prevailing one is ``*``.
    """
    if host[-1:] == ".":
        host = host.rstrip(".")
    if host[:1] == "[" or (host[-1:].isdigit() and _IPV4.match(host)):
        return host
    suffix = _public_suffix_at(host)
    return host[host.rfind(".", 0, suffix - 1) + 1 :] if suffix > 1 else host


def _public_suffix_at(host: str) -> int:
    """Where in `host` its public suffix begins: label by label from the right, as long as the list knows such names."""
    rules = _rules()
    at = suffix = host.rfind(".") + 1
    kind = rules.get(host[at:], _UNKNOWN)
    while not kind & (_UNKNOWN | _EXCEPTION) and at > 0:
        if kind & _RULE:
            suffix = at
        at = host.rfind(".", 0, at - 1) + 1
        below_wildcard = kind & _WILDCARD
        kind = rules.get(host[at:], _UNKNOWN)
        if below_wildcard:
            suffix = at
    if kind & _EXCEPTION:  # the suffix has one label less
        return host.find(".", at) + 1
    return at if kind & _RULE else suffix


@lru_cache(maxsize=4096)
def is_public_suffix(name: str) -> bool:
    """Whether `name` (lower case) is an ICANN suffix, by a wildcard rule too: ``com.bd``. Not ``github.io``."""
    below = f"no-suffix.{name}"  # a plain letter would not do: x.se is a suffix
    return bool(name) and _extractor().extract_str(below, include_psl_private_domains=False).suffix == name


@cache
def public_suffixes() -> frozenset[str]:
    """Every ICANN suffix, lower case, both as Unicode and as A-labels; wildcard rules without their ``*.``."""
    found: set[str] = set()
    for suffix in _extractor()._get_tld_extractor().tlds(include_psl_private_domains=False):
        name = suffix.lstrip("*!").lstrip(".")
        found.add(name)
        if not name.isascii():
            found.add(str(ada_url.idna_to_ascii(name).decode("ascii")))
        elif "xn--" in name:
            found.add(unicode_host(name))
    return frozenset(found)

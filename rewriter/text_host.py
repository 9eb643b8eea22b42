"""Where the host of a URL in running text begins and ends. Knows hosts and public suffixes; no path, no link.

Rules 1 and 2 of docs/text-boundary.md. Nothing here looks at more than 1,024 characters of a host.
"""

from __future__ import annotations

import re

from rewriter.text_chars import CJK, HOST_RUN, SYMBOL_OR_CJK
from toc.url import public_suffixes

MAX_HOST = 253
"""Octets of a name in DNS (RFC 1035, 2.3.4), without the dot at the end."""

_USERINFO = re.compile(r"[A-Za-z0-9\-._~%!$&'()*+,;=:]{0,256}@")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")
_PORT = re.compile(r":([0-9]{1,5})(?![0-9])")
_ASCII = re.compile(r"[\x00-\x7f]*")
_BARE_FORBIDDEN = frozenset("@/\\.-_~=&?%#+$")


def host_end(text: str, start: int, *, dots: int = 0) -> int | None:
    """Where the host that begins at `start` ends; None where there is no host.

    `dots`: how many the host must have at least (a URL that begins with ``www.`` needs two).
    """
    match = HOST_RUN.match(text, start)
    if match is None:
        return None
    run = match.group()
    length = len(run) if run.isascii() and ".." not in run else _cut(run)
    run = run[:length]
    if run.endswith(".") and text[start + length : start + length + 1] not in ("/", ":", "?", "#"):
        run = run[:-1]  # the dot of a sentence, not the root of DNS
    if not run or run[0] == "." or run.count(".") < dots or _too_long(run):
        return None
    return start + len(run)


def authority_end(text: str, start: int) -> tuple[int, int] | None:
    """(begin of the host, end of the authority) of what stands behind ``://``; None where there is no host."""
    info = _USERINFO.match(text, start)
    host = info.end() if info else start
    if text.startswith("[", host):
        literal = _IPV6.match(text, host)
        end = literal.end() if literal else None
    else:
        end = host_end(text, host)
    if end is None:
        return None
    return host, port_end(text, end)


def port_end(text: str, end: int) -> int:
    """`end`, or the end of the port that stands there."""
    port = _PORT.match(text, end)
    return port.end() if port and int(port.group(1)) < 65536 else end


def bare_start(text: str, dot: int) -> int | None:
    """Where the host without a scheme that holds the dot at `dot` begins; None where that is a mail address, a file
    path or part of something longer."""
    start = dot
    floor = max(0, dot - MAX_HOST)
    while start > floor and _bare_letter(text[start - 1]):
        start -= 1
    if start == dot or not (text[start].isalnum()):
        return None
    if start and text[start - 1] in _BARE_FORBIDDEN:
        return None
    return start


def known_suffix(host: str) -> bool:
    """Whether `host` lies below an ICANN suffix, and is not one itself."""
    host = host.lower()
    suffixes = public_suffixes()
    return host.rpartition(".")[2] in suffixes and host not in suffixes


def _bare_letter(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-."
    return character.isalpha() and not CJK.match(character)


def _too_long(host: str) -> bool:
    # A percent-encoded octet is three characters; in an A-label a foreign letter needs about two octets or fewer.
    if len(host) <= MAX_HOST // 4:
        return False
    octets = len(host) - 2 * host.count("%")
    return octets > MAX_HOST or (not host.isascii() and _encoded_length(host) > MAX_HOST)


def _encoded_length(host: str) -> int:
    """Length of the host with its labels as A-labels, as Punycode makes them (RFC 3492), without mapping."""
    return sum(
        len(label) if label.isascii() else 4 + len(label.encode("punycode")) for label in host.split(".")
    ) + host.count(".")


def _cut(run: str) -> int:
    """How much of `run`, which holds foreign letters or empty labels, is host."""
    labels = run.split(".")
    position = 0
    for index, label in enumerate(labels):
        if not label and index:
            return max(0, position - 1)
        glued = _ASCII.match(label)
        ascii_part = glued.group() if glued else ""
        if index == len(labels) - 1 or (index == len(labels) - 2 and not labels[-1]):
            return _cut_last(label, ascii_part, position, alone=index == 0, dot=index < len(labels) - 1)
        if index and ascii_part.lower() in public_suffixes():
            foreign = label[len(ascii_part) :] or labels[index + 1]
            if SYMBOL_OR_CJK.match(foreign) and (len(ascii_part) < len(label) or not _suffix_follows(labels, index)):
                return position + len(ascii_part)
        position += len(label) + 1
    return position


def _suffix_follows(labels: list[str], index: int) -> bool:
    """Whether a label behind `index` is, or begins with, a public suffix."""
    last = labels[-1] or labels[-2]
    return len(labels) > index + 1 and bool(_suffix_prefix(last))


def _cut_last(label: str, ascii_part: str, position: int, *, alone: bool, dot: bool) -> int:
    """The end of the host within its last label, which begins at `position`."""
    if ascii_part:
        if len(ascii_part) == len(label):
            return position + len(label) + dot
        return position + len(ascii_part.rstrip("-_"))
    if CJK.match(label):
        if alone:
            return 0
        return position + (_suffix_prefix(label) or len(label) + dot)
    cjk = SYMBOL_OR_CJK.search(label)
    if cjk:
        return position + cjk.start()
    return position + len(label) + dot


def _suffix_prefix(label: str) -> int:
    """Length of the longest beginning of `label` that is a public suffix: `한국입니다` → 2; 0 where there is none.

    A label that begins in ASCII counts its ASCII part.
    """
    glued = _ASCII.match(label)
    if glued and glued.group():
        return glued.end() if glued.group().lower() in public_suffixes() else 0
    for length in range(min(len(label), 24), 0, -1):
        if label[:length] in public_suffixes():
            return length
    return 0

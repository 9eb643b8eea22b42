"""What the formats of public lists say, one row each: bytes in, entries out. Pure; knows no network, file or index.

    parse("urlhaus_csv", chunks) ─▶ Entry(kind, value, line, threat, expires), …

A line that its format does not allow becomes an entry of kind ``bad``, so that whoever builds the index can count them
and refuse a file that is something else. Formats of a whole JSON document: `reputation.formats_json`, STIX:
`reputation.formats_stix`; their ``line`` is the place in the document's list, from 1.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator

from reputation.addresses import normal_network
from reputation.formats_json import misp_feed, misp_warninglist, phishtank_json, urlhaus_json
from reputation.formats_stix import stix
from reputation.formats_words import expiry, threat_of
from reputation.index import Entry
from toc.errors import ListError
from toc.url import host_address
from toc.verdict import ThreatType

MAX_LINE = 65536
"""Bytes. The longest line of a public list that we know has 8 KiB; an endless line must not fill the memory."""

Lines = Iterable[tuple[int, str]]
LineParser = Callable[[Lines, ThreatType], Iterator[Entry]]
DocumentParser = Callable[[bytes, ThreatType], Iterator[Entry]]

_UNDECODABLE = 0.02  # share of lines that are not UTF-8 above which the charset is another one
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")  # UTF-16 and UTF-32
_BOM = b"\xef\xbb\xbf"
_START = 1024  # bytes that tell what a file is
_HTML = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
_BAD = "bad"


def parse(format: str, data: bytes | Iterable[bytes], threat: ThreatType = ThreatType.OTHER) -> Iterator[Entry]:
    """The entries of `data` (whole, or in chunks of any size). `threat` stands where the format names none.

    Raises ListError, at the first entry or later, where this cannot be a list of that format: ``html``, ``nul``,
    ``charset``, ``long_line``, ``json``, ``format``, ``unknown_format``.
    """
    chunks = [data] if isinstance(data, bytes) else data
    if (by_line := LINE_FORMATS.get(format)) is not None:
        return by_line(lines(chunks), threat)
    if (whole := DOCUMENT_FORMATS.get(format)) is not None:
        return whole(_document(chunks), threat)
    raise ListError(f"unknown list format {format!r}", why="unknown_format")


def _document(chunks: Iterable[bytes]) -> bytes:
    raw = b"".join(chunks).removeprefix(_BOM)
    _sniff(raw[:_START])
    return raw


def _sniff(start: bytes) -> None:
    if start.startswith(_WIDE):
        raise ListError("the list is UTF-16 or UTF-32, not UTF-8", why="charset")
    if _HTML.match(start.removeprefix(_BOM)):
        raise ListError("a web page came instead of a list", why="html")


def lines(chunks: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, decoded as UTF-8. Linear in the size, memory of one chunk.

    A line that is not UTF-8 comes with U+FFFD in it. Raises ListError as `parse`.
    """
    number = undecodable = 0
    rest, first = b"", True
    for chunk in _closed(chunks):
        if b"\0" in chunk and not (first and chunk.startswith(_WIDE)):
            raise ListError("the list holds NUL bytes", why="nul")
        block = rest + chunk
        if first and (b"\n" in block or len(block) >= _START):
            _sniff(block[:_START])
            block, first = block.removeprefix(_BOM), False
        *whole, rest = block.split(b"\n")
        if len(rest) > MAX_LINE:
            raise ListError(f"line {number + len(whole) + 1} is longer than {MAX_LINE:,} bytes", why="long_line")
        for raw in whole:
            number += 1
            try:
                text = raw.decode("utf-8").strip()
            except UnicodeDecodeError:
                undecodable += 1
                text = raw.decode("utf-8", "replace").strip()
            if text:
                yield number, text
    if undecodable > 1 and undecodable > _UNDECODABLE * number:
        raise ListError(f"{undecodable:,} of {number:,} lines are not UTF-8", why="charset")


def _closed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    yield b"\n"


def _url_list(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """One URL a line; ``#`` and ``;`` begin comments (OpenPhish's and most plain feeds)."""
    for number, text in source:
        if text[0] not in "#;":
            kind = "url" if re.match(r"https?://", text, re.IGNORECASE) else _BAD
            yield Entry(kind, text, number, threat)


def _domain_list(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """One host name, address or network a line, perhaps ``*.`` before it or a comment behind it."""
    for number, text in source:
        if text[0] not in "#;!/":
            yield _host_entry(text.partition("#")[0].strip(), number, threat)


def _host_entry(text: str, number: int, threat: ThreatType) -> Entry:
    host = text.rstrip(".")
    if "/" in host and normal_network(host):
        return Entry("ip", host, number, threat)
    if not host or any(character in host for character in " \t/<>@\ufffd\"'="):
        return Entry(_BAD, text, number, threat)
    numeric = host[-1].isdigit() or ":" in host
    return Entry("ip" if numeric and host_address(host) else "host", host, number, threat)


_OWN_NAMES = frozenset(
    {"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback"}
    | {"ip6-localnet", "ip6-mcastprefix", "ip6-allnodes", "ip6-allrouters", "ip6-allhosts"}
)


def _hosts_file(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """hosts(5): an address, then names; a machine's own names are no entries."""
    for number, text in source:
        words = text.partition("#")[0].split()
        if not words:
            continue
        if len(words) < 2 or host_address(words[0].partition("%")[0]) is None:
            yield Entry(_BAD, text, number, threat)
            continue
        for name in words[1:]:
            if name.lower() not in _OWN_NAMES and host_address(name) is None:  # "0.0.0.0 0.0.0.0" heads many lists
                yield _host_entry(name, number, threat)


def _rows(source: Lines, header: str) -> Iterator[tuple[int, dict[str, str]]]:
    """CSV rows by column name (RFC 4180). `header` names the columns where only a comment or nothing does."""
    kept: list[int] = []

    def text_lines() -> Iterator[str]:
        for number, text in source:
            if not text.startswith("#"):
                kept.append(number)
                yield text + "\n"

    reader = csv.reader(text_lines(), strict=False)
    names = header.split(",")
    try:
        for row in reader:
            number, kept[:] = kept[0], []
            lowered = [cell.strip().lower() for cell in row]
            if len(set(lowered) & set(names)) > 1:  # a row of names, not of values
                names = lowered
            else:
                yield number, dict(zip(names, row, strict=False))
    except csv.Error as error:
        raise ListError(f"no CSV: {error}", why="format") from None


def _urlhaus_csv(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """abuse.ch URLhaus: https://urlhaus.abuse.ch/api/#csv"""
    columns = "id,dateadded,url,url_status,last_online,threat,tags,urlhaus_link,reporter"
    for number, row in _rows(source, columns):
        yield _url_entry(row.get("url", ""), number, threat_of(row.get("threat", ""), threat))


def _phishtank_csv(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """PhishTank: https://phishtank.org/developer_info.php; rows that nobody verified are left out."""
    columns = "phish_id,url,phish_detail_url,submission_time,verified,verification_time,online,target"
    for number, row in _rows(source, columns):
        if row.get("verified", "yes") == "yes":
            yield _url_entry(row.get("url", ""), number, threat)


def _url_entry(url: str, number: int, threat: ThreatType) -> Entry:
    return Entry("url" if url.lower().startswith(("http://", "https://")) else _BAD, url, number, threat)


_OBJECT_KINDS = {"url": "url", "domain": "host", "ip": "ip"}
_OBJECT_OTHERS = frozenset(
    {"file_sha1", "file_sha256", "file", "filesha1", "filesha256", "sender", "sendermailaddress"}
)
_OBJECT_HARMLESS = frozenset({"log", "allow", "override"})


def _objects_csv(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """Suspicious objects as our own export writes them; hashes and what does not block or warn are left out."""
    for number, row in _rows(source, "type,value,action,risk_level,note,owner,expires"):
        kind, value = row.get("type", "").strip().lower(), row.get("value", "").strip()
        if kind in _OBJECT_OTHERS or row.get("action", "").strip().lower() in _OBJECT_HARMLESS:
            continue
        entry_kind = _OBJECT_KINDS.get(kind, _BAD) if value else _BAD
        yield Entry(entry_kind, value, number, ThreatType.SUSPICIOUS_OBJECT, expiry(row.get("expires", "")))


_BLOCK_RULE = re.compile(r"(@@)?\|\|(\*\.)?([^\s/^$*|]+)\^?\|?(?:\$(.*))?\Z")
_WHOLE_SITE = frozenset({"all", "doc", "document", "important", "popup", "third-party", "3p", "dnstype", "denyallow"})
_OTHER_RULE = re.compile(r"!|\[|.*#[@?$%]*#|@@|/|.*[$^*|]|#")


def _adblock(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """AdGuard and uBlock: ``||host^`` rules that mean a whole site; exceptions (``@@||host^``) take their host out.

    Rules about parts of pages are no entries and no errors either. Held in memory: an exception may stand at the end.
    """
    found: list[Entry] = []
    excepted: set[str] = set()
    for number, text in source:
        rule = _BLOCK_RULE.match(text)
        if rule is None:
            if not _OTHER_RULE.match(text):
                found.append(_host_entry(text.split()[-1], number, threat))  # hosts lines and bare hosts are allowed
            continue
        exception, _, host, options = rule.groups()
        if exception:
            excepted.add(host.lower())
        elif not options or all(option.partition("=")[0] in _WHOLE_SITE for option in options.split(",")):
            found.append(_host_entry(host, number, threat))
    return (entry for entry in found if entry.value.lower() not in excepted)


_RPZ_RECORD = re.compile(r"(\S+)\s+(?:\d+[smhdwSMHDW]?\s+)?(?:IN\s+)?(?:\d+\s+)?([A-Z]+)\s+(.*)", re.IGNORECASE)
_RPZ_SAME_OWNER = re.compile(r"(?:\d+[smhdw]?\s+|IN\s+)*(?:A|AAAA|CNAME|DNAME|NS|SOA|TXT|MX|SRV)\s", re.IGNORECASE)
"""A record that names no owner: another one of the name before (RFC 1035 section 5.1)."""
_RPZ_TRIGGERS = (".rpz-ip", ".rpz-nsdname", ".rpz-nsip", ".rpz-client-ip")
_RPZ_HARMLESS = ("rpz-passthru.", "rpz-tcp-only.")


def _rpz(source: Lines, threat: ThreatType) -> Iterator[Entry]:
    """A response policy zone as a master file (draft-vixie-dnsop-dns-rpz): QNAME triggers, addresses and networks.

    Without $ORIGIN, as a zone transfer writes it, the SOA's absolute owner is the origin.
    """
    origin, open_paren = "", False
    for number, line in source:
        text = line.partition(";")[0].strip()
        if open_paren or not text:
            open_paren = open_paren and ")" not in text
            continue
        if text.upper().startswith("$ORIGIN"):
            origin = text.split()[-1].rstrip(".").lower()
            continue
        open_paren = "(" in text and ")" not in text
        if text.startswith("$") or _RPZ_SAME_OWNER.match(text):
            continue
        record = _RPZ_RECORD.match(text)
        if record is None:
            if not text.startswith("@"):
                yield Entry(_BAD, text, number, threat)
            continue
        if not origin and record.group(2).upper() == "SOA" and record.group(1).endswith("."):
            origin = record.group(1).rstrip(".").lower()
        yield from _rpz_record(record, origin, number, threat)


def _rpz_record(record: re.Match[str], origin: str, number: int, threat: ThreatType) -> Iterator[Entry]:
    owner, kind, data = record.group(1).lower(), record.group(2).upper(), record.group(3).strip().lower()
    if owner == "@" or kind in ("SOA", "NS", "DNSKEY", "RRSIG", "NSEC") or data in _RPZ_HARMLESS:
        return
    name = owner[: -len(origin) - 2] if origin and owner.endswith(f".{origin}.") else owner.rstrip(".")
    if name == origin:
        return
    if name.endswith(".rpz-ip"):
        address = _rpz_address(name.removesuffix(".rpz-ip"))
        yield Entry("ip" if address else _BAD, address or name, number, threat)
        return
    if not name.endswith(_RPZ_TRIGGERS):
        yield _host_entry(name, number, threat)


def _rpz_address(name: str) -> str | None:
    """``24.0.2.0.192`` as 192.0.2.0/24, ``32.zz.db8.2001`` as 2001:db8::/32 (draft, section 4.1.1)."""
    length, *parts = name.split(".")
    if len(parts) == 4 and "zz" not in parts:
        return normal_network(f"{'.'.join(reversed(parts))}/{length}")
    text = ":".join("" if part == "zz" else part for part in reversed(parts))
    text = f":{text}" if text.startswith(":") else text
    return normal_network(f"{text}:/{length}" if text.endswith(":") else f"{text}/{length}")


LINE_FORMATS: dict[str, LineParser] = {
    "url_list": _url_list,
    "openphish": _url_list,
    "domain_list": _domain_list,
    "hosts": _hosts_file,
    "urlhaus_csv": _urlhaus_csv,
    "phishtank_csv": _phishtank_csv,
    "adblock": _adblock,
    "rpz": _rpz,
    "objects_csv": _objects_csv,
    "misp_feed": misp_feed,
}
DOCUMENT_FORMATS: dict[str, DocumentParser] = {
    "urlhaus_json": urlhaus_json,
    "phishtank_json": phishtank_json,
    "misp_warninglist": misp_warninglist,
    "stix": stix,
}
FORMATS = tuple(sorted(LINE_FORMATS | DOCUMENT_FORMATS))

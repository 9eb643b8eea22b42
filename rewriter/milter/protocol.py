"""The milter protocol, version 6, as bytes: packets in, packets out. Sans-IO.

Knows the wire: lengths, command letters, flags, and how each command's data is laid out. Leaves to `session` what may
come when, and to `changes` what is to be changed. The protocol has no RFC; the reference is libmilter's ``mfdef.h`` and
``mfapi.h`` (Sendmail 8.18), and ``milter8.c`` of Postfix 3.7 for what a sender really does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from typing import ClassVar

from toc.errors import TocError

VERSION = 6
CHUNK = 65_535
"""Bytes of data in one packet to the mail server: MILTER_CHUNK_SIZE of libmilter."""

MAX_PACKET = 1 << 20
"""Longest packet that we take. Body chunks are 65,535 bytes; a header is one packet, and Postfix allows 102,400 bytes."""


class MilterError(TocError):
    """The other side does not speak the milter protocol. The connection ends; the mail server then keeps the mail."""

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "milter_protocol"


class Action(IntFlag):
    """What a filter may do (SMFIF_*)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20


class Option(IntFlag):
    """How the two sides talk (SMFIP_*). NR: the filter sends no reply to that command."""

    NO_UNKNOWN = 0x100
    NR_HEADER = 0x80
    NR_CONNECT = 0x1000
    NR_HELO = 0x2000
    NR_MAIL = 0x4000
    NR_RCPT = 0x8000
    NR_DATA = 0x10000
    NR_UNKNOWN = 0x20000
    NR_EOH = 0x40000
    NR_BODY = 0x80000
    LEADING_SPACE = 0x100000


NEEDED_ACTIONS = Action.ADD_HEADERS | Action.CHANGE_BODY | Action.CHANGE_HEADERS
WANTED_ACTIONS = NEEDED_ACTIONS | Action.QUARANTINE
WANTED_OPTIONS = Option(sum(Option))

NO_REPLY = {
    b"C": Option.NR_CONNECT,
    b"H": Option.NR_HELO,
    b"M": Option.NR_MAIL,
    b"R": Option.NR_RCPT,
    b"T": Option.NR_DATA,
    b"U": Option.NR_UNKNOWN,
    b"L": Option.NR_HEADER,
    b"N": Option.NR_EOH,
    b"B": Option.NR_BODY,
}
"""Which option spares the reply to which command."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of the mail server: its command letter and data."""

    command: bytes
    data: bytes


class Splitter:
    """Cuts the byte stream into packets, however it arrives. Linear in what it is given."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes of a packet that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that `data` completes. Raises MilterError at an empty packet and at one over `MAX_PACKET`."""
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while len(buffer) - position >= 4:
                length = int.from_bytes(buffer[position : position + 4], "big")
                if not 1 <= length <= MAX_PACKET:
                    raise MilterError(f"a milter packet of {length} bytes; 1 to {MAX_PACKET} are possible")
                end = position + 4 + length
                if len(buffer) < end:
                    break
                packet = Packet(bytes(buffer[position + 4 : position + 5]), bytes(buffer[position + 5 : end]))
                position = end
                yield packet
        finally:
            del buffer[:position]


@dataclass(frozen=True, slots=True)
class Offer:
    """What the mail server can do, and after negotiation: what both do."""

    version: int
    actions: int
    options: int


@dataclass(frozen=True, slots=True)
class Client:
    """The host that delivers. `address` is empty where the mail server does not know it."""

    name: str = ""
    address: str = ""
    port: int = 0


def parse_offer(data: bytes) -> Offer:
    """SMFIC_OPTNEG. Raises MilterError."""
    if len(data) < 12:
        raise MilterError("the offer of options is cut off")
    return Offer(*struct.unpack_from("!III", data))


def negotiate(offer: Offer) -> Offer:
    """What we use of `offer`. Raises MilterError where a change of header or body would be impossible."""
    if offer.version < 2:
        raise MilterError(f"milter protocol version {offer.version}; 2 to {VERSION} are possible")
    missing = NEEDED_ACTIONS & ~offer.actions
    if missing:
        raise MilterError(f"the mail server does not allow changes that we need: {missing!r}")
    return Offer(min(offer.version, VERSION), WANTED_ACTIONS & offer.actions, WANTED_OPTIONS & offer.options)


def parse_strings(data: bytes) -> list[bytes]:
    """Strings that end with NUL. A missing last NUL is forgiven."""
    return data.removesuffix(b"\0").split(b"\0") if data else []


def parse_macros(data: bytes) -> tuple[bytes, dict[str, str]]:
    """SMFIC_MACRO: the command it belongs to, and the macros, names without braces. Raises MilterError."""
    if not data:
        raise MilterError("macros for no command")
    words = [word.decode("utf-8", "surrogateescape") for word in parse_strings(data[1:])]
    names = (name.strip("{}") for name in words[::2])
    return data[:1], dict(zip(names, words[1::2], strict=False))


def parse_client(data: bytes) -> Client:
    """SMFIC_CONNECT: name, family, and for the families 4, 6 and L a port and an address."""
    name, _, rest = data.partition(b"\0")
    shown = name.decode("utf-8", "surrogateescape")
    if rest[:1] not in (b"4", b"6") or len(rest) < 3:
        return Client(shown)
    address = rest[3:].rstrip(b"\0").decode("ascii", "replace")
    if address[:5].lower() == "ipv6:":  # Sendmail and Postfix write IPv6 addresses so
        address = address[5:]
    return Client(shown, address, int.from_bytes(rest[1:3], "big"))


def parse_address(data: bytes) -> str:
    """The first argument of SMFIC_MAIL and SMFIC_RCPT without its angle brackets; ESMTP parameters follow it."""
    words = parse_strings(data)
    address = words[0] if words else b""
    if address[:1] == b"<" and address[-1:] == b">":
        address = address[1:-1]
    return address.decode("utf-8", "surrogateescape")


def parse_header(data: bytes) -> tuple[bytes, bytes]:
    """SMFIC_HEADER: name and value, the value exact, its lines ended by LF. Raises MilterError."""
    name, found, value = data.partition(b"\0")
    if not found or not name or b":" in name or b"\n" in name:
        raise MilterError("a header without a proper name")
    return name, value.removesuffix(b"\0")


def packet(command: bytes, data: bytes = b"") -> bytes:
    """One packet to the mail server."""
    return struct.pack("!I", len(data) + 1) + command + data


def offer_packet(offer: Offer) -> bytes:
    return packet(b"O", struct.pack("!III", offer.version, offer.actions, offer.options))


CONTINUE = packet(b"c")
ACCEPT = packet(b"a")
TEMPFAIL = packet(b"t")
PROGRESS = packet(b"p")


def reply_code(code: str, text: str) -> bytes:
    """SMFIR_REPLYCODE: `code` such as ``451 4.7.1``. Only plain characters of `text` survive: it is one SMTP line."""
    plain = "".join(char if " " <= char <= "~" and char != "%" else " " for char in text)[:400]
    return packet(b"y", f"{code} {plain}".encode("ascii") + b"\0")


def quarantine(reason: str) -> bytes:
    return packet(b"q", reason.encode("ascii", "replace").replace(b"\0", b" ") + b"\0")


def insert_header(index: int, name: bytes, value: bytes) -> bytes:
    """Insert a header behind the first `index` ones. The mail server's own `Received` counts, though we are not shown it."""
    return packet(b"i", struct.pack("!I", index) + name + b"\0" + value + b"\0")


def change_header(index: int, name: bytes, value: bytes) -> bytes:
    """Change the `index`-th header of this name, counted from 1. An empty value removes it."""
    return packet(b"m", struct.pack("!I", index) + name + b"\0" + value + b"\0")


def replace_body(body: bytes | memoryview) -> Iterator[bytes]:
    """SMFIR_REPLBODY in chunks. An empty body takes one empty packet, else the old one would stay."""
    view = memoryview(body)
    for start in range(0, max(len(view), 1), CHUNK):
        yield packet(b"b", bytes(view[start : start + CHUNK]))

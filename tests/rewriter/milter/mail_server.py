"""The other side of the milter protocol, written for the tests: what a mail server sends, and what it makes of the reply.

Shares no code with `rewriter.milter`, so that a mistake about the wire cannot hide on both sides.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

HOST_ACTIONS = 0x1FF
HOST_OPTIONS = 0x1FFFFF
Fields = list[tuple[bytes, bytes]]


def packet(command: str, data: bytes = b"") -> bytes:
    return struct.pack("!I", len(data) + 1) + command.encode() + data


def packets(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut a complete stream; anything left over is an error."""
    while stream:
        length = int.from_bytes(stream[:4], "big")
        assert 1 <= length <= len(stream) - 4, "a packet is cut off"
        yield chr(stream[4]), stream[5 : 4 + length]
        stream = stream[4 + length :]


def offer(version: int = 6, actions: int = HOST_ACTIONS, options: int = HOST_OPTIONS) -> bytes:
    return packet("O", struct.pack("!III", version, actions, options))


def connect(name: str = "mx.example.org", address: str = "192.0.2.7") -> bytes:
    family = b"6" if ":" in address else b"4"
    return packet("C", name.encode() + b"\0" + family + struct.pack("!H", 40123) + address.encode() + b"\0")


def mail(
    sender: str, recipients: Iterable[str], fields: Fields, body: bytes, macros: bytes = b"i\x004XyZ\0"
) -> list[bytes]:
    """The packets of one mail, up to and with the end of its body."""
    sent = [packet("M", f"<{sender}>".encode() + b"\0")]
    sent += [packet("R", f"<{recipient}>".encode() + b"\0") for recipient in recipients]
    sent += [packet("D", b"T" + macros), packet("T")]
    sent += [packet("L", name + b"\0" + value.replace(b"\r\n", b"\n") + b"\0") for name, value in fields]
    sent += [packet("N")]
    sent += [packet("B", body[start : start + 65_535]) for start in range(0, len(body), 65_535)]
    return [*sent, packet("E")]


@dataclass
class Held:
    """A mail as the mail server holds it while the milter speaks."""

    fields: Fields
    body: bytes
    verdict: str = ""
    quarantined: str = ""
    new_body: list[bytes] | None = None
    progress: int = 0
    touched: list[bytes] = field(default_factory=list)

    def apply(self, command: str, data: bytes) -> bool:
        """Carry out one reply. True at the last."""
        match command:
            case "h":
                self.fields.append(_named(data))
            case "i":
                place = int.from_bytes(data[:4], "big") - 1  # the mail server's own Received is number 0, and not shown
                self.fields.insert(place, _named(data[4:]))
            case "m":
                self._change(int.from_bytes(data[:4], "big"), *_named(data[4:]))
            case "b":
                self.new_body = [*(self.new_body or []), data]
            case "q":
                self.quarantined = data.rstrip(b"\0").decode()
            case "p":
                self.progress += 1
            case "a" | "c" | "t" | "r":
                self.verdict = command
                return True
            case "y":
                self.verdict = data.rstrip(b"\0").decode()
                return True
            case _:
                raise AssertionError(f"reply {command!r} was never offered")
        return False

    def _change(self, number: int, name: bytes, value: bytes) -> None:
        self.touched.append(name.lower())
        places = [place for place, (other, _) in enumerate(self.fields) if other.lower() == name.lower()]
        assert 1 <= number <= len(places), f"there is no header {name!r} number {number}"
        place = places[number - 1]
        if value:
            self.fields[place] = (self.fields[place][0], value)
        else:
            del self.fields[place]

    @property
    def final_body(self) -> bytes:
        return self.body if self.new_body is None else b"".join(self.new_body)

    @property
    def message(self) -> bytes:
        head = b"".join(name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n" for name, value in self.fields)
        return head + b"\r\n" + self.final_body


def _named(data: bytes) -> tuple[bytes, bytes]:
    name, value, end = data.split(b"\0")
    assert end == b""
    return name, value


class Connection:
    """A mail server's connection to a listening milter."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address: str, client: bytes | None = None) -> Connection:
        if address.startswith("unix:"):
            streams = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        else:
            host, _, port = address.rpartition(":")
            streams = await asyncio.open_connection(host, int(port))
        self = cls(*streams)
        self.writer.write(offer())
        command, _ = await self.receive()
        assert command == "O"
        self.writer.write(client or connect())
        return self

    async def receive(self) -> tuple[str, bytes]:
        length = int.from_bytes(await self.reader.readexactly(4), "big")
        data = await self.reader.readexactly(length)
        return chr(data[0]), data[1:]

    async def deliver(self, sender: str, recipients: Iterable[str], fields: Fields, body: bytes) -> Held:
        """One mail, whole, and what the milter made of it."""
        held = Held(list(fields), body)
        for data in mail(sender, recipients, fields, body):
            self.writer.write(data)
        await self.writer.drain()
        while not held.apply(*await self.receive()):
            pass
        return held

    async def close(self) -> None:
        self.writer.write(packet("Q"))
        self.writer.close()
        await self.writer.wait_closed()

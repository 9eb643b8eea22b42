"""Servers on loopback that answer badly, over UDP and TCP on one port: never, late, with garbage, or by breaking off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message

from tests.ports import free_port

HOW = ("hung", "reset", "slow", "garbage", "endless", "empty")
SLOW_SECONDS = 30.0
"""Far beyond every limit: who waits for it, waits too long."""

_GARBAGE = bytes(range(256)) * 2


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, how: str) -> None:
        self._how = how
        self.asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.asked += 1
        if self._how in ("garbage", "endless"):
            self._transport.sendto(data[:2] + _GARBAGE, address)
        elif self._how == "empty":
            self._transport.sendto(b"", address)
        elif self._how == "reset":
            answer = dns.message.make_response(dns.message.from_wire(data))
            answer.flags |= dns.flags.TC  # cut: the rest by TCP, which resets
            self._transport.sendto(answer.to_wire(), address)


async def _stream(how: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read(1)
        if how == "reset":
            writer.transport.abort()
        elif how == "garbage":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 512\r\nContent-Type: application/json\r\n\r\n" + _GARBAGE)
        elif how == "slow":
            for byte in b"HTTP/1.1 200 OK\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(SLOW_SECONDS / 10)
        elif how == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
            while True:
                writer.write(b"[" * 65536)
                await writer.drain()
        elif how == "hung":
            await asyncio.sleep(SLOW_SECONDS)
        await writer.drain()
    except (ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


@asynccontextmanager
async def bad_server(how: str) -> AsyncIterator[int]:
    """Its port. The server and all that it still does end with the block."""
    loop = asyncio.get_running_loop()
    port = free_port()
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _stream(how, reader, writer)
        finally:
            tasks.discard(task)

    transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(how), ("127.0.0.1", port))
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    try:
        yield port
    finally:
        transport.close()
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

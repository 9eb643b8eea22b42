"""Taking in connections: all that wait, whoever fails among them, and none that are another process's by now."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from redirector.accepting import Acceptor
from tests.redirector.collectors import certificate


class Echo(asyncio.Protocol):
    """Says what it hears."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.write = transport.write  # uvloop's transport is one that writes, by its methods only

    def data_received(self, data: bytes) -> None:
        self.write(data)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as made:
        made.setblocking(False)
        yield made


async def echoed(listener: socket.socket, tls: ssl.SSLContext | None = None) -> bytes:
    host, port = listener.getsockname()
    reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=host if tls else None)
    writer.write(b"hello")
    async with asyncio.timeout(5):
        found = await reader.readexactly(5)
    writer.close()
    return found


def test_all_that_wait_are_taken_in_one_turn(listener: socket.socket) -> None:
    async def run() -> int:
        clients = [socket.create_connection(listener.getsockname()) for _ in range(300)]
        acceptor = Acceptor(listener, Echo, None)
        acceptor.start()
        await asyncio.sleep(0.2)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert await echoed(listener) == b"hello"
        acceptor.stop()
        for client in clients:
            client.close()
        return len(clients)

    assert uvloop.run(run()) == 300


def test_who_stops_leaves_the_queue_to_others(listener: socket.socket) -> None:
    async def run() -> None:
        first = Acceptor(listener, Echo, None)
        first.start()
        assert await echoed(listener) == b"hello"
        first.stop()
        waiting = asyncio.create_task(echoed(listener))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        Acceptor(listener, Echo, None).start()
        assert await waiting == b"hello"

    uvloop.run(run())


def test_a_client_that_speaks_no_tls_disturbs_nobody(listener: socket.socket, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(cert, key)
    client = ssl.create_default_context(cafile=str(cert))

    async def run() -> None:
        acceptor = Acceptor(listener, Echo, server)
        acceptor.start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(5):
            assert b"HTTP" not in await reader.read()
        writer.close()
        assert await echoed(listener, client) == b"hello"
        acceptor.stop()

    uvloop.run(run())


def test_without_a_file_descriptor_it_waits_and_goes_on(listener: socket.socket) -> None:
    async def run() -> bytes:
        acceptor = Acceptor(listener, Echo, None)
        acceptor.start()
        with socket.create_connection(listener.getsockname()) as client:
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
            await asyncio.sleep(0.3)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            client.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(client, b"late")
            async with asyncio.timeout(5):
                found = await asyncio.get_running_loop().sock_recv(client, 4)
        acceptor.stop()
        return found

    assert uvloop.run(run()) == b"late"

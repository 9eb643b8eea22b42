"""Requests that the doorkeeper takes in hand, over real sockets: each gets its answer, in order, whatever comes meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import uvicorn

from redirector.plain import Plain
from redirector.protocol import Done, LimitedProtocol, guarded


@dataclass
class Porter:
    """Takes in hand what lies under ``/slow``, and answers when the test says so; past its room it refuses, and takes long."""

    waiting: list[tuple[bytes, Done]] = field(default_factory=list)
    loop_seen: list[int] = field(default_factory=list)
    turns: int = 0
    room: int = 1000

    def has_room(self, waiting: int, *, newcomer: bool) -> bool:
        return waiting < self.room - (not newcomer)

    def refusal(self, _request: Plain) -> bytes:
        time.sleep(0.005)
        self.loop_seen.append(self.turns)
        return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.turns += 1

    def begin(self, request: Plain, _peer: str, done: Done) -> bool:
        if request.target == b"/poison":
            raise RuntimeError
        if request.target.startswith(b"/slow"):
            self.waiting.append((request.target, done))
            return True
        return False

    async def next(self) -> tuple[bytes, Done]:
        async with asyncio.timeout(5):
            while not self.waiting:  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.005)
        return self.waiting.pop(0)

    async def answer(self) -> None:
        target, done = await self.next()
        done(200, b"content-length: %d\r\n" % len(target), target)


@dataclass
class Running:
    porter: Porter
    port: int
    server: uvicorn.Server
    protocol: type[LimitedProtocol]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def app(scope, receive, send) -> None:
    if scope["type"] == "http":
        body = b"app " + scope["raw_path"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    porter = Porter()
    protocol = guarded(porter)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, http=protocol, log_config=None, lifespan="off", timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this attribute alone
        await asyncio.sleep(0.01)
    yield Running(porter, server.servers[0].sockets[0].getsockname()[1], server, protocol)
    server.should_exit = True
    await task


def get(path: bytes) -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"


async def read_body(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(5):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        return await reader.readexactly(int(length.split(b":")[1]))


async def test_what_comes_behind_a_request_in_hand_is_answered_after_it_in_order(running: Running) -> None:
    """The ordinary way: as one piece it is no plain request any more."""
    reader, writer = await running.connect()
    for path in (b"/slow1", b"/a", b"/slow2", b"/b"):
        writer.write(get(path))
        await writer.drain()
        await asyncio.sleep(0.02)
    await running.porter.answer()
    found = [await read_body(reader) for _ in range(4)]
    assert found == [b"/slow1", b"app /a", b"app /slow2", b"app /b"]
    writer.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
async def test_a_request_in_pieces_behind_one_in_hand_is_whole_in_the_end(running: Running, cut: int) -> None:
    reader, writer = await running.connect()
    writer.write(get(b"/slow"))
    await writer.drain()
    target, done = await running.porter.next()
    writer.write(get(b"/a")[:cut])
    await writer.drain()
    await asyncio.sleep(0.02)
    done(200, b"content-length: 5\r\n", target)
    assert await read_body(reader) == b"/slow"
    writer.write(get(b"/a")[cut:])
    assert await read_body(reader) == b"app /a"
    writer.close()


async def test_nobody_misses_an_answer_because_another_client_has_gone(running: Running) -> None:
    _, gone = await running.connect()
    reader, writer = await running.connect()
    gone.write(get(b"/slow-gone"))
    await gone.drain()
    _, done = await running.porter.next()
    writer.write(get(b"/slow-here"))
    gone.close()
    with contextlib.suppress(ConnectionError):
        await gone.wait_closed()
    done(200, b"content-length: 0\r\n", b"")
    await running.porter.answer()
    assert await read_body(reader) == b"/slow-here"
    writer.close()


async def test_an_answer_to_a_client_that_has_gone_is_dropped(running: Running) -> None:
    _, writer = await running.connect()
    writer.write(get(b"/slow"))
    await writer.drain()
    _, done = await running.porter.next()
    writer.transport.abort()
    await asyncio.sleep(0.05)
    done(200, b"content-length: 0\r\n", b"")
    reader, writer = await running.connect()
    writer.write(get(b"/a"))
    assert await read_body(reader) == b"app /a"
    writer.close()


async def test_an_end_of_the_server_waits_for_what_is_in_hand(running: Running) -> None:
    reader, writer = await running.connect()
    writer.write(get(b"/slow"))
    await writer.drain()
    _, done = await running.porter.next()
    running.server.should_exit = True
    await asyncio.sleep(0.3)
    done(200, b"content-length: 2\r\n", b"ok")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.endswith(b"connection: close\r\n\r\nok")
    writer.close()


async def test_an_idle_connection_ends_and_a_busy_one_does_not(running: Running) -> None:
    reader, writer = await running.connect()
    for _ in range(4):
        writer.write(get(b"/slow"))
        await asyncio.sleep(0.4)  # longer in all than an idle connection lasts
        await running.porter.answer()
        assert await read_body(reader) == b"/slow"
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_request_in_hand_outlasts_the_idle_time(running: Running) -> None:
    reader, writer = await running.connect()
    for wait in (0.0, 2.5):
        writer.write(get(b"/slow"))
        await asyncio.sleep(wait)
        await running.porter.answer()
        assert await read_body(reader) == b"/slow"
    writer.close()


@pytest.mark.parametrize(("path", "answer"), [(b"/a", b"app /a"), (b"/slow", b"/slow")])
async def test_a_client_that_has_sent_all_still_gets_its_answer(running: Running, path: bytes, answer: bytes) -> None:
    reader, writer = await running.connect()
    writer.write(get(path))
    writer.write_eof()
    if path == b"/slow":
        await asyncio.sleep(1.5)  # longer than idle connections linger at an end
        await running.porter.answer()
    async with asyncio.timeout(5):
        found = await reader.read()
    assert found.endswith(b"\r\n\r\n" + answer)
    writer.close()


async def test_half_a_request_and_an_end_is_an_end(running: Running) -> None:
    reader, writer = await running.connect()
    writer.write(get(b"/a")[:20])
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_flood_does_not_keep_the_loop_from_whoever_comes_meanwhile(running: Running) -> None:
    """What has arrived is worked on in portions: new connections are accepted, and old ones heard, in between."""
    running.porter.room = 0
    clients = [await running.connect() for _ in range(60)]
    counting = asyncio.create_task(running.porter.count())
    for _, writer in clients:
        writer.write(get(b"/a"))
    for reader, writer in clients:
        assert await read_body(reader) == b""
        writer.close()
    counting.cancel()
    seen = running.porter.loop_seen
    assert len(seen) == 60
    assert seen[-1] - seen[0] >= 10


async def test_past_the_room_the_others_are_refused_and_those_let_in_are_answered_first(running: Running) -> None:
    running.porter.room = 3
    clients = [await running.connect() for _ in range(9)]
    for _, writer in clients:
        writer.write(get(b"/a"))
    bodies = [await read_body(reader) for reader, _ in clients]
    assert bodies == [b"app /a"] * 3 + [b""] * 6
    for _, writer in clients:  # nobody is a newcomer any more: one place is kept
        writer.write(get(b"/a"))
    bodies = [await read_body(reader) for reader, _ in clients]
    assert bodies == [b"app /a"] * 2 + [b""] * 7
    for _, writer in clients:
        writer.close()


async def test_one_that_fails_takes_no_other_along(running: Running) -> None:
    clients = [await running.connect() for _ in range(6)]
    for number, (_, writer) in enumerate(clients):
        writer.write(get(b"/poison" if number == 2 else b"/a"))
    for number, (reader, writer) in enumerate(clients):
        if number == 2:
            assert await reader.read() == b""
        else:
            assert await read_body(reader) == b"app /a"
        writer.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (get(b"/a"), b"\r\n"),
        (b"GET /a HTTP/1.1\r\nHost: x\r\n", b"\r\n", b"\r\n"),
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", b"b"),
    ],
    ids=["an empty line", "an empty line, the ordinary way", "a piece of a body that nobody reads"],
)
async def test_a_byte_or_two_hold_no_connection(running: Running, pieces: tuple[bytes, ...]) -> None:
    running.protocol.head_seconds = 0.5
    reader, writer = await running.connect()
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await reader.read()
    assert reader.at_eof()
    writer.close()

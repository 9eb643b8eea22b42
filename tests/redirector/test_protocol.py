"""The limits on a request's head, over real sockets: where the head ends decides, not how the bytes arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn

from redirector.headers import PLAIN
from redirector.protocol import MAX_HEAD, LimitedProtocol


async def app(scope, receive, send) -> None:
    """Answers with the number of bytes of the body."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(str(size)))]})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=LimitedProtocol, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this attribute alone
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def ask(port: int, *pieces: bytes) -> tuple[int, bytes]:
    """Status and body of the answer; each piece is written apart."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
BODY = 200_000


@pytest.mark.parametrize("cut", [None, -4, -3, -2, -1, 0, 1, 100])
async def test_a_large_body_is_no_large_head_however_it_arrives(port: int, cut: int | None) -> None:
    message = HEAD + b"%d\r\n\r\n" % BODY + bytes(BODY)
    place = message.index(b"\r\n\r\n") + 4 + (cut or 0)
    pieces = [message] if cut is None else [message[:place], message[place:]]
    assert await ask(port, *pieces) == (200, str(BODY).encode())


@pytest.mark.parametrize(("size", "status"), [(MAX_HEAD - 200, 200), (MAX_HEAD + 1, 431)])
async def test_a_large_head_is_refused(port: int, size: int, status: int) -> None:
    filler = b"X: " + b"a" * size + b"\r\n"
    request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + filler + b"\r\n"
    assert (await ask(port, request))[0] == status


async def test_an_endless_head_is_refused_without_its_end(port: int) -> None:
    pieces = [b"GET / HTTP/1.1\r\n", *[b"X: " + b"a" * 20_000 + b"\r\n"] * 4]
    assert (await ask(port, *pieces))[0] == 431


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * (MAX_HEAD + 1)])
async def test_a_refusal_too_carries_the_headers_of_every_answer(port: int, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    head = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")[0].split(b"\r\n")
    writer.close()
    assert int(head[0].split()[1]) in (400, 431)
    for name, value in PLAIN:
        assert head.count(name + b": " + value) == 1


async def test_two_requests_in_one_piece_are_two(port: int) -> None:
    first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    second = HEAD + b"%d\r\n\r\n" % BODY + bytes(BODY)
    status, body = await ask(port, first + second)
    assert status == 200
    assert body.endswith(str(BODY).encode())

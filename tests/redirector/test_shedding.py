"""Past capacity a plain GET is refused unparsed; a request that is anything else is parsed, and none is taken for two."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn

from redirector.plain import Plain
from redirector.protocol import PAST_CAPACITY, Done, guarded

REFUSED = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"
PLAIN = b"GET /u/x HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope, receive, send) -> None:
    """Answers with the method and the path of what the parser saw, and says whether it was told that there is no room."""
    if scope["type"] != "http":
        return
    body = f"{scope['method']} {scope['path']}".encode()
    told = b"yes" if PAST_CAPACITY in scope["extensions"] else b"no"
    headers = [(b"content-length", b"%d" % len(body)), (b"x-past-capacity", told)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Full:
    """Refuses whatever it is shown."""

    def has_room(self, _waiting: int, *, newcomer: bool) -> bool:
        return False

    def refusal(self, _request: Plain) -> bytes:
        return REFUSED

    def begin(self, _request: Plain, _peer: str, _done: Done) -> bool:
        raise AssertionError


class Roomy(Full):
    """Has room, and takes nothing in hand."""

    def has_room(self, _waiting: int, *, newcomer: bool) -> bool:
        return True

    def begin(self, _request: Plain, _peer: str, _done: Done) -> bool:
        return False


@contextlib.asynccontextmanager
async def serving(doorkeeper: Full) -> AsyncIterator[int]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, http=guarded(doorkeeper), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by this attribute alone
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A server that has no capacity at all for plain requests."""
    async with serving(Full()) as found:
        yield found


async def talk(port: int, *pieces: bytes) -> bytes:
    """All that comes back; each piece is written apart, then our side is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.03)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_every_plain_request_of_a_connection_is_refused_whole(port: int) -> None:
    assert await talk(port, PLAIN, PLAIN, PLAIN) == REFUSED * 3


@pytest.mark.parametrize(
    ("request_", "seen"),
    [
        (b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", [b"POST /a"]),
        (b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n", [b"content-length: 7"]),  # a refusal would have a body
        (b"GET /a HTTP/1.0\r\n\r\n", [b"GET /a"]),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [b"GET /a", b"connection: close"]),
        (PLAIN + PLAIN, [b"GET /u/x"]),  # two in one piece
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", [b"HTTP/1.1"]),
        (b"GET /a b HTTP/1.1\r\nHost: x\r\nno colon\r\nContent-Length: 0\r\n\r\n", [b"400"]),
    ],
)
async def test_what_is_not_plain_goes_the_ordinary_way(port: int, request_: bytes, seen: list[bytes]) -> None:
    answer = await talk(port, request_)
    assert b" 503 " not in answer
    assert [part for part in seen if part not in answer] == []


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 31\r\n",
        b"content-length:31\r\n",
        b"CONTENT-LENGTH: 31\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ],
)
async def test_a_body_is_never_taken_for_a_request(port: int, head: bytes) -> None:
    """The body is a plain request, sent by itself as soon as the head is out: smuggling if it were answered."""
    inner = PLAIN + b" "
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(inner), inner) if b"chunked" in head else inner
    answer = await talk(port, b"GET /outer HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n", body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"GET /outer" in answer


@pytest.mark.parametrize("cut", [1, 4, 10, len(PLAIN) - 4, len(PLAIN) - 1])
async def test_a_request_in_two_pieces_is_one_request(port: int, cut: int) -> None:
    assert await talk(port, PLAIN[:cut], PLAIN[cut:], PLAIN) == await talk(port, PLAIN[:cut], PLAIN[cut:]) + REFUSED


async def test_a_refused_connection_answers_what_is_not_plain(port: int) -> None:
    answer = await talk(port, PLAIN, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", PLAIN)
    assert answer.startswith(REFUSED)
    assert b"POST /a" in answer
    assert answer.endswith(REFUSED)


@pytest.mark.parametrize(("doorkeeper", "told"), [(Full(), b"yes"), (Roomy(), b"no")], ids=["no room", "room"])
async def test_the_application_is_told_of_a_request_for_which_there_is_no_room(doorkeeper: Full, told: bytes) -> None:
    """Whole or in pieces: it is the first piece that finds no room."""
    request_ = b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with serving(doorkeeper) as port:
        for pieces in ((request_,), (request_[:20], request_[20:])):
            assert b"x-past-capacity: " + told + b"\r\n" in await talk(port, *pieces)

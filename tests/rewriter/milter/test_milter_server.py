"""The milter server over real sockets: every mail gets its own reply, whatever happens to the others; when something
fails, the answer is a temporary failure or a closed connection, never the mail as it came."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mail_server import Connection, Held, mail, offer, packet

from rewriter.milter.changes import Field
from rewriter.milter.server import Limits, Server, Work, serve
from rewriter.milter.session import Envelope, Reply, SessionLimits


async def shout(envelope: Envelope, raw: bytes) -> Reply:
    """A small true transformation: `marker` becomes the sender's name in capitals."""
    if b"marker" not in raw:
        return Reply()
    return Reply(raw.replace(b"marker", envelope.sender.upper().encode()), add=(Field(b"Toc-Result", b" ok"),))


@asynccontextmanager
async def listening(
    work: Work = shout, limits: Limits | None = None, where: str = "127.0.0.1:0"
) -> AsyncIterator[Server]:
    server = await serve(where, work, limits)
    try:
        yield server
    finally:
        await server.close()


async def delivered(address: str, sender: str, body: bytes) -> Held:
    connection = await Connection.open(address)
    held = await connection.deliver(sender, ["b@example.net"], [(b"Subject", b" x")], body)
    await connection.close()
    return held


async def test_many_mails_in_one_session_each_with_its_own_reply() -> None:
    async with listening() as server:
        connection = await Connection.open(server.address)
        for number in range(200):
            body = b"see marker\r\n" if number % 3 else b"plain %d\r\n" % number
            held = await connection.deliver(f"s{number}@example.org", ["b@example.net"], [(b"Subject", b" x")], body)
            assert held.verdict == "a"
            if number % 3:
                assert held.message == b"Toc-Result: ok\r\nSubject: x\r\n\r\nsee S%d@EXAMPLE.ORG\r\n" % number
            else:
                assert held.new_body is None
                assert held.fields == [(b"Subject", b" x")]
        await connection.close()


async def test_sessions_at_once_do_not_mix() -> None:
    async def session(address: str, name: int) -> None:
        rng = random.Random(name)
        connection = await Connection.open(address)
        for number in range(10):
            body = b"marker" + rng.randbytes(rng.randrange(200_000)) + b"%d.%d\r\n" % (name, number)
            held = await connection.deliver(f"s{name}@example.org", ["b@example.net"], [], body)
            assert held.final_body == body.replace(b"marker", b"S%d@EXAMPLE.ORG" % name)
        await connection.close()

    async with listening(limits=Limits(concurrency=3)) as server:
        await asyncio.gather(*(session(server.address, name) for name in range(12)))


async def test_a_unix_socket(tmp_path: Path) -> None:
    where = f"unix:{tmp_path / 'milter.sock'}"
    async with listening(where=where) as server:
        assert server.address == where
        assert (await delivered(server.address, "s@example.org", b"marker")).final_body == b"S@EXAMPLE.ORG"
    assert not (tmp_path / "milter.sock").exists()


async def boom(_envelope: Envelope, _raw: bytes) -> Reply:
    raise RuntimeError("a mistake of ours")


async def asleep(_envelope: Envelope, _raw: bytes) -> Reply:
    await asyncio.sleep(60)
    return Reply()


@pytest.mark.parametrize("work", [boom, asleep])
async def test_a_work_that_fails_or_is_late_is_a_temporary_failure_and_the_session_lives(work: Work) -> None:
    async with listening(work, Limits(work_seconds=0.05)) as server:
        connection = await Connection.open(server.address)
        for _ in range(3):
            held = await connection.deliver("s@example.org", ["b@example.net"], [], b"marker")
            assert held.verdict.startswith("451 4.7.1 ")
            assert held.new_body is None
        await connection.close()


async def test_signs_of_life_while_work_runs() -> None:
    go = asyncio.Event()

    async def waits(_envelope: Envelope, _raw: bytes) -> Reply:
        await go.wait()
        return Reply()

    async with listening(waits, Limits(progress_seconds=0.01)) as server:
        connection = await Connection.open(server.address)
        for data in mail("s@example.org", ["b@example.net"], [], b"x"):
            connection.writer.write(data)
        for _ in range(3):
            assert (await connection.receive())[0] == "p"
        go.set()
        command = "p"
        while command == "p":
            command, _ = await connection.receive()
        assert command == "a"
        await connection.close()


def blocked() -> tuple[Work, asyncio.Event, asyncio.Queue[str]]:
    """A work that starts, tells so, and waits until it is cancelled; the queue tells whose it was."""
    started = asyncio.Event()
    ended: asyncio.Queue[str] = asyncio.Queue()

    async def work(envelope: Envelope, raw: bytes) -> Reply:
        if b"wait" not in raw:
            return await shout(envelope, raw)
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.put_nowait(envelope.sender)
        return Reply()

    return work, started, ended


async def test_a_connection_cut_at_work_stops_the_work_and_harms_no_other() -> None:
    work, started, ended = blocked()
    async with listening(work) as server:
        cut = await Connection.open(server.address)
        for data in mail("cut@example.org", ["b@example.net"], [], b"wait"):
            cut.writer.write(data)
        await started.wait()
        cut.writer.transport.abort()
        assert (await delivered(server.address, "s@example.org", b"marker")).final_body == b"S@EXAMPLE.ORG"
        assert await ended.get() == "cut@example.org"


async def test_an_abort_at_work_and_the_next_mail_of_the_session_gets_its_own_reply() -> None:
    work, started, ended = blocked()
    async with listening(work) as server:
        connection = await Connection.open(server.address)
        for data in mail("one@example.org", ["b@example.net"], [], b"wait"):
            connection.writer.write(data)
        await started.wait()
        connection.writer.write(packet("A"))
        held = await connection.deliver("two@example.org", ["b@example.net"], [], b"marker")
        assert held.final_body == b"TWO@EXAMPLE.ORG"
        assert await ended.get() == "one@example.org"
        await connection.close()


GARBAGE: dict[str, Callable[[random.Random], bytes]] = {
    "http": lambda _: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": lambda rng: rng.randbytes(5000),
    "a huge length": lambda _: b"\xff\xff\xff\xff",
    "no command": lambda _: offer() + b"\0\0\0\0",
    "an unknown command": lambda _: offer() + packet("Z", b"x"),
    "a body without a mail": lambda _: offer() + packet("B", b"x"),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_ends_that_connection_only(name: str) -> None:
    async with listening() as server:
        address, _, port = server.address.rpartition(":")
        good = await Connection.open(server.address)
        reader, writer = await asyncio.open_connection(address, int(port))
        writer.write(GARBAGE[name](random.Random(7)))
        answer = await reader.read()
        assert len(answer) in (0, 17), "at most the answer to a proper offer comes"
        writer.close()
        held = await good.deliver("s@example.org", ["b@example.net"], [], b"marker")
        assert held.final_body == b"S@EXAMPLE.ORG"
        await good.close()


async def test_cut_anywhere_the_next_mail_is_whole() -> None:
    """Whatever part of a mail arrived, it is forgotten with its connection."""
    rng = random.Random(11)
    async with listening() as server:
        for _ in range(100):
            stream = b"".join([offer(), *mail("cut@example.org", ["b@example.net"], [(b"A", b" 1")], b"marker" * 99)])
            host, _, port = server.address.rpartition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(stream[: rng.randrange(len(stream))])
            await writer.drain()
            writer.transport.abort()
        held = await delivered(server.address, "s@example.org", b"marker")
        assert held.message == b"Toc-Result: ok\r\nSubject: x\r\n\r\nS@EXAMPLE.ORG"


async def test_a_mail_over_the_limit_waits_and_the_next_is_taken() -> None:
    async with listening(limits=Limits(SessionLimits(max_message=100_000))) as server:
        connection = await Connection.open(server.address)
        held = await connection.deliver("s@example.org", ["b@example.net"], [], b"marker" * 20_000)
        assert held.verdict.startswith("451 ")
        held = await connection.deliver("s@example.org", ["b@example.net"], [], b"marker")
        assert held.final_body == b"S@EXAMPLE.ORG"
        await connection.close()


async def test_more_connections_than_allowed_are_closed_at_once() -> None:
    async with listening(limits=Limits(sessions=1)) as server:
        first = await Connection.open(server.address)
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await reader.read() == b""
        writer.close()
        assert (await first.deliver("s@example.org", ["b@example.net"], [], b"marker")).verdict == "a"
        await first.close()


async def test_an_idle_connection_ends() -> None:
    async with listening(limits=Limits(idle_seconds=0.05)) as server:
        connection = await Connection.open(server.address)
        assert await connection.reader.read() == b""
        await connection.close()


async def test_a_new_work_takes_over_within_a_session() -> None:
    async def other(_envelope: Envelope, raw: bytes) -> Reply:
        return Reply(raw.replace(b"marker", b"new"))

    async with listening() as server:
        connection = await Connection.open(server.address)
        assert (await connection.deliver("s@e.org", ["b@e.net"], [], b"marker")).final_body == b"S@E.ORG"
        server.work = other
        assert (await connection.deliver("s@e.org", ["b@e.net"], [], b"marker")).final_body == b"new"
        await connection.close()


async def test_close_lets_a_mail_under_way_finish_and_ends_idle_sessions() -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def waits(envelope: Envelope, raw: bytes) -> Reply:
        started.set()
        await go.wait()
        return await shout(envelope, raw)

    server = await serve("127.0.0.1:0", waits)
    idle = await Connection.open(server.address)
    busy = await Connection.open(server.address)
    task = asyncio.create_task(busy.deliver("s@example.org", ["b@example.net"], [], b"marker"))
    await started.wait()
    closing = asyncio.create_task(server.close(grace=30))
    assert await idle.reader.read() == b""
    go.set()
    assert (await task).final_body == b"S@EXAMPLE.ORG"
    await closing
    for connection in (idle, busy):
        connection.writer.close()

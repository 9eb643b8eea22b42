"""Pushing clicks. Invariants: each click reaches each target, in order, whatever breaks between; none is skipped; a webhook
knows who is calling; a target that is away costs nothing but its own waiting."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from redirector.delivery import DeliveryError, Hook, Item, SyslogStream, Webhook, tls_context
from redirector.export import format_of
from redirector.push import LONGEST_PAUSE, Pusher, Target, pause
from redirector.syslog import framed, message
from tests.conftest import require_program
from tests.ports import free_port
from tests.redirector.collectors import Collector, Receiver, certificate, collecting, receiving
from tests.redirector.databases import sqlite_database
from tests.redirector.record_data import click, put
from toc.store.engine import open_async
from toc.store.schema import shipments


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def engine(database):
    opened = open_async(database)
    yield opened
    await opened.dispose()


ROADS = []


@pytest.fixture(autouse=True)
async def roads():
    """Every road of a test; all closed at its end."""
    yield ROADS
    for road in ROADS:
        await road.close()
    ROADS.clear()


def kept(road):
    ROADS.append(road)
    return road


def stream(collector: Collector, clock: Clock, context: ssl.SSLContext | None = None) -> SyslogStream:
    road = SyslogStream("127.0.0.1", collector.port, context=context, own_name="gate", clock=clock, settle=3.0)
    return kept(road)


def hook(receiver: Receiver) -> Webhook:
    meant = Hook(receiver.url, "s3cret", "siem", "application/jsonl")
    return kept(Webhook(meant, httpx.AsyncClient(), lambda: 1_700_000_000))


def pusher(road, engine: AsyncEngine, *, backlog: bool = True, part: int = 10) -> Pusher:
    return Pusher(Target("siem", road, format_of("jsonl")[2], backlog), engine, lambda: 0.5, part)


async def position(engine: AsyncEngine) -> tuple[int, int, str]:
    async with engine.connect() as connection:
        row = (await connection.execute(select(shipments).where(shipments.c.target == "siem"))).one()
    return row.seq, row.failures, row.error


def numbers(receiver: Receiver) -> list[int]:
    return [int(json.loads(line)["id"], 16) for _, body in receiver.requests for line in body.splitlines()]


def arrived(collector: Collector) -> list[int]:
    return [int(json.loads(text.partition(" click - ")[2])["id"], 16) for text in collector.messages]


async def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_a_webhook_gets_every_click_in_order_and_signed(database, engine):
    await put(database, *(click(number) for number in range(25)))
    async with receiving(Receiver()) as receiver:
        ours = pusher(hook(receiver), engine)
        assert [await ours.step() for _ in range(3)] == [0.0, 0.0, 1.0]
        assert numbers(receiver) == list(range(25))
        headers, body = receiver.requests[0]
        wanted = hmac.new(b"s3cret", b"1700000000." + body, hashlib.sha256).hexdigest()
        assert headers["toc-signature"] == f"t=1700000000,v1={wanted}"
        assert headers["content-type"] == "application/jsonl"
        await put(database, click(25))
        await ours.step()
        assert numbers(receiver) == list(range(26))
        assert (await position(engine))[1:] == (0, "")


async def test_a_restart_goes_on_where_it_was(database, engine):
    await put(database, *(click(number) for number in range(15)))
    async with receiving(Receiver()) as receiver:
        await pusher(hook(receiver), engine).step()
        again = pusher(hook(receiver), engine)
        await again.step()
        await again.step()
        assert numbers(receiver) == list(range(15))


async def test_a_new_target_begins_with_the_next_click(database, engine):
    await put(database, *(click(number) for number in range(3)))
    async with receiving(Receiver()) as receiver:
        ours = pusher(hook(receiver), engine, backlog=False)
        await ours.step()
        await put(database, click(3))
        await ours.step()
        assert numbers(receiver) == [3]


async def test_what_is_refused_is_offered_again_before_anything_later(database, engine):
    await put(database, *(click(number) for number in range(12)))
    refusals = ["500 Broken", "429 Slow\r\nRetry-After: 40", "302 Found\r\nLocation: http://127.0.0.1:9/", "404 None"]
    async with receiving(Receiver(answers=refusals)) as receiver:
        ours = pusher(hook(receiver), engine)
        assert [await ours.step() for _ in range(4)] == [1.0, 40.0, 4.0, 8.0]
        seq, failures, error = await position(engine)
        assert (seq, failures) == (0, 4)
        assert error.endswith("status 404")
        await ours.step()
        await ours.step()
        assert numbers(receiver) == [*list(range(10)) * 5, 10, 11]
        assert (await position(engine))[1:] == (0, "")


async def test_a_part_too_large_goes_in_halves(database, engine):
    await put(database, *(click(number) for number in range(8)))
    async with receiving(Receiver()) as receiver:
        receiver.limit = len(format_of("jsonl")[2]({})) + 2500
        await pusher(hook(receiver), engine).step()
        taken = [body for _, body in receiver.requests if len(body) <= receiver.limit]
        assert [int(json.loads(line)["id"], 16) for body in taken for line in body.splitlines()] == list(range(8))


async def test_pauses_double_up_to_a_limit():
    assert [pause(number, 0.5) for number in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 8.0]
    assert pause(1000, 0.5) == LONGEST_PAUSE
    assert 0.5 <= pause(1, 0.0) < pause(1, 1.0) <= 1.5


async def test_a_collector_that_is_cut_off_gets_everything_again_that_was_not_certain(tmp_path):
    url, clock, collector = sqlite_database(tmp_path), Clock(), Collector()
    engine = open_async(url)
    await put(url, *(click(number) for number in range(30)))
    async with collecting(collector):
        ours = pusher(stream(collector, clock), engine)
        await ours.step()
        await until(lambda: len(collector.messages) == 10)
        assert (await position(engine))[0] == 0  # it may sit unread over there
        clock.now = 4.0
        await ours.step()
        assert (await position(engine))[0] == 10
        await until(lambda: len(collector.messages) == 20)
        collector.cut()
        await until(lambda: ours._target.road._reader.at_eof() or ours._target.road._reader.exception())
        assert await ours.step() > 0
        assert (await position(engine))[1] == 1
        for _ in range(3):
            await ours.step()
        await until(lambda: len(collector.messages) == 40)
        assert arrived(collector) == [*range(20), *range(10, 30)]
        clock.now = 9.0
        await ours.step()
        assert (await position(engine))[0] == 30
        await ours._target.road.close()
    await engine.dispose()


async def test_a_collector_that_is_away_is_waited_for(tmp_path):
    url, collector = sqlite_database(tmp_path), Collector()
    engine = open_async(url)
    await put(url, click(1))
    async with collecting(collector):
        pass
    ours = pusher(stream(collector, Clock()), engine)
    assert [await ours.step(), await ours.step()] == [1.0, 2.0]
    async with collecting(collector):
        await ours.step()
        await until(lambda: collector.messages)
        assert arrived(collector) == [1]
        await ours._target.road.close()
    await engine.dispose()


async def test_syslog_goes_through_tls_to_the_collector_that_is_meant(tmp_path):
    cert, key = certificate(tmp_path)
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(cert, key)
    item = Item(1, "CEF:0|x\n", "2026-11-24T09:00:00.000Z", 6)
    async with collecting(Collector(), served) as collector:
        road = stream(collector, Clock(), tls_context(str(cert)))
        await road.deliver([item])
        await until(lambda: collector.messages)
        assert collector.messages == ["<134>1 2026-11-24T09:00:00.000Z gate toc - click - CEF:0|x"]
        await road.close()
        stranger = stream(collector, Clock(), tls_context(""))
        with pytest.raises(DeliveryError, match="certificate"):
            await stranger.deliver([item])
        other, _ = certificate(tmp_path, address="127.0.0.9")
        with pytest.raises(DeliveryError, match="certificate"):
            await stream(collector, Clock(), tls_context(str(other))).deliver([item])


MESSAGES = {
    "a facility and severity": ({"severity": 4, "host": "gate.example"}, "<132>1 T gate.example toc - click - text"),
    "a name that is none": ({"severity": 6, "host": "日本 \n"}, "<134>1 T - toc - click - text"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name):
    more, wanted = MESSAGES[name]
    assert message("text", time="T", kind="click", **more).decode() == wanted


def test_a_frame_counts_octets_not_characters():
    assert framed("請求".encode()) == b"6 " + "請求".encode()


RSYSLOG = """
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriverCAFile="{cert}"
  defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
template(name="all" type="string" string="%hostname%|%app-name%|%msgid%|%syslogseverity%|%timereported:::date-rfc3339%|%msg%\\n")
ruleset(name="in") {{ action(type="omfile" file="{folder}/out" template="all") }}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="in")
"""


@pytest.fixture
def rsyslog(tmp_path):
    """A real rsyslog that takes TLS; its folder and port."""
    program = require_program("rsyslogd")
    if not any(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")):
        pytest.skip("rsyslog-openssl is not installed")
    cert, key = certificate(tmp_path)
    port = free_port()
    (tmp_path / "conf").write_text(RSYSLOG.format(folder=tmp_path, cert=cert, key=key, port=port))
    command = [program, "-n", "-f", tmp_path / "conf", "-i", tmp_path / "pid"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    yield tmp_path, port
    process.terminate()
    process.wait(20)


async def test_a_real_rsyslog_reads_what_was_sent(rsyslog, tmp_path):
    """Octet counting over TLS, long lines, any script: host, program, kind, severity, time and text are where they belong."""
    folder, port = rsyslog
    road = SyslogStream(
        "127.0.0.1", port, context=tls_context(str(folder / "collector.pem")), own_name="gate.example", clock=Clock()
    )
    long = "https://evil.example/" + "x" * 8000
    items = [
        Item(n, f"{text}\n", "2026-11-24T09:00:00.125Z", 4) for n, text in enumerate(("請求書 a=b|c", long, "last"))
    ]
    end = time.monotonic() + 20
    while True:
        try:
            await kept(road).deliver(items)
            break
        except DeliveryError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.2)
    await until(lambda: (folder / "out").exists() and (folder / "out").read_text().endswith("last\n"))
    head = "gate.example|toc|click|4|2026-11-24T09:00:00.125Z|"
    assert (folder / "out").read_text() == "".join(f"{head}{item.line}" for item in items)

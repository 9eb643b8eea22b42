"""Alerts out of the record, to real receivers. Invariants: whoever proceeds, and whoever clicked what is convicted later, is
told of on every channel; what a channel could not take waits for it; a restart neither forgets nor tells all again."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from redirector.actor import ActorKind
from redirector.clicks import Event
from tests.ports import free_port
from tests.redirector.collectors import Collector, Receiver, certificate, collecting, receiving
from tests.redirector.record_data import MATCH, START, click, put
from toc import pushing
from toc.alerting import Channel, Watch
from toc.config import AlertRule, AlertSettings, Config, convert
from toc.errors import ConfigError
from toc.policy import Action
from toc.store.engine import open_async
from toc.store.schema import hits, people, shipments
from toc.verdict import Level

EVIL = "https://login.evil.example/pay?session=s3cret"


def proceeded(number: int, url: str = EVIL, **more):
    return click(
        number, url, event=Event.PROCEEDED, action=Action.WARN, level=Level.SUSPICIOUS, matches=(MATCH,), **more
    )


@dataclass
class Time:
    """The clock of the wall and the one that only counts, set by hand."""

    seconds: float = 0.0

    def clock(self) -> float:
        return self.seconds

    def now(self):
        return START + timedelta(days=1, seconds=self.seconds)


@pytest.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    opened = open_async(database)
    async with opened.begin() as connection:
        await connection.execute(insert(people).values(ref=b"rrrrrrr1", address="ceo@example.com"))
    yield opened
    await opened.dispose()


@pytest.fixture
async def channels_of() -> AsyncIterator:
    made: list[Channel] = []

    def build(settings: AlertSettings) -> list[Channel]:
        found = pushing.channels(Config(alerts=settings))
        made.extend(found)
        return found

    yield build
    for channel in made:
        await channel.road.close()


def told(receiver: Receiver) -> list[tuple[list[str], list[int]]]:
    """Rules and clicks of every alert that came."""
    alerts = [json.loads(line) for _, body in receiver.requests for line in body.splitlines()]
    return [(alert["alert"], [int(cause["click"], 16) for cause in alert["causes"]]) for alert in alerts]


async def test_whoever_proceeds_is_told_of_and_programs_are_not(database, engine, channels_of):
    at = Time()
    async with receiving(Receiver()) as receiver:
        settings = AlertSettings(webhook=receiver.url, webhook_secret="s", console_url="https://toc.example/console/")
        watch = Watch(settings, engine, channels_of(settings), at.now, at.clock)
        await put(database, proceeded(1))
        await watch.step()
        assert told(receiver) == []  # what is older than the first start
        await put(database, click(2), proceeded(3), proceeded(4, actor=ActorKind.AUTOMATED), proceeded(5))
        await watch.step()
        assert told(receiver) == [(["proceeded"], [3, 5])]
        cause = json.loads(receiver.requests[0][1])["causes"][0]
        assert cause["console"] == f"https://toc.example/console/clicks/{3:032x}"
        assert (cause["recipients"], cause["threats"]) == (["ceo@example.com"], ["phishing"])
        assert b"s3cret" not in receiver.requests[0][1]


async def test_a_click_convicted_later_is_told_of_once(database, engine, channels_of):
    at = Time()
    await put(database, click(1, EVIL))
    async with receiving(Receiver()) as receiver:
        settings = AlertSettings(webhook=receiver.url, webhook_secret="s", group_minutes=0)
        for _restart in range(2):
            watch = Watch(settings, engine, channels_of(settings), at.now, at.clock)
            async with engine.begin() as connection:
                if not _restart:
                    rows = [{"click": f"{1:032x}", "link": 0}, {"click": "", "link": 7}, {"click": "gone", "link": 0}]
                    fields = {"time": at.now(), "source": "objects", "entry": "evil.example"}
                    await connection.execute(insert(hits), [fields | row for row in rows])
            await watch.step()
            await watch.step()
        assert told(receiver) == [(["convicted"], [1])]
        assert json.loads(receiver.requests[0][1])["causes"][0]["entry"] == "evil.example"
    async with engine.connect() as connection:
        alerted = (await connection.execute(select(hits.c.alerted).where(hits.c.click == f"{1:032x}"))).scalar_one()
    assert alerted == at.now()


async def test_a_channel_that_is_away_gets_its_alerts_later_and_holds_up_no_other(database, engine, channels_of):
    at, collector = Time(), Collector()
    async with collecting(collector):
        pass
    async with receiving(Receiver()) as receiver:
        settings = AlertSettings(
            webhook=receiver.url, webhook_secret="s", syslog=f"syslog://127.0.0.1:{collector.port}", group_minutes=0
        )
        watch = Watch(settings, engine, channels_of(settings), at.now, at.clock)
        await watch.step()
        for number in (1, 2):
            await put(database, proceeded(number))
            at.seconds += 1
            await watch.step()
        assert told(receiver) == [(["proceeded"], [1]), (["proceeded"], [2])]
        again = Watch(settings, engine, channels_of(settings), at.now, at.clock)  # killed here
        async with collecting(collector):
            await again.step()
            await until(lambda: len(collector.messages) == 1)
            assert "<129>1 2026-03-01T12:02:00.000Z" in collector.messages[0]
            found = json.loads(collector.messages[0].partition(" alert - ")[2])
            assert [int(cause["click"], 16) for cause in found["causes"]] == [1, 2]
            end = time.monotonic() + 20
            while await position(engine) < 2:  # syslog counts as arrived after a few seconds
                assert time.monotonic() < end
                await asyncio.sleep(0.2)
                await again.step()
            await channels_close(again)
        third = Watch(settings, engine, channels_of(settings), at.now, at.clock)
        await third.step()
        assert len(told(receiver)) == 3  # told again after the crash, and not after that


async def position(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        return (await connection.execute(select(shipments.c.seq))).scalar_one()


async def channels_close(watch: Watch) -> None:
    for channel in watch._channels:
        await channel.road.close()


async def until(condition) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_clicks_from_before_a_restart_count(database, engine, channels_of):
    at = Time(-86_400.0)
    rule = AlertRule(name="many", clicks=3, minutes=60)
    async with receiving(Receiver()) as receiver:
        settings = AlertSettings(webhook=receiver.url, webhook_secret="s", rules=(rule,))
        await put(database, click(1), click(2), click(3, "https://other.example/"))
        await Watch(settings, engine, channels_of(settings), at.now, at.clock).step()
        watch = Watch(settings, engine, channels_of(settings), at.now, at.clock)
        await watch.step()
        await put(database, click(4))
        await watch.step()
        assert told(receiver) == [(["many"], [1, 2, 4])]


@dataclass
class Postbox:
    """The handler of a real SMTP server."""

    mails: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, _server, _session, envelope) -> str:
        self.mails.append(envelope.content)
        return "250 OK"


@pytest.fixture
def smtp(tmp_path: Path) -> Iterator[tuple[int, Postbox, Path]]:
    """Takes mail after STARTTLS only."""
    cert, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    box = Postbox()
    port = free_port()
    controller = Controller(box, "127.0.0.1", port, tls_context=context, require_starttls=True)
    controller.start()
    yield port, box, cert
    controller.stop()


async def test_an_alert_goes_by_mail_through_tls(database, engine, channels_of, smtp):
    port, box, cert = smtp
    at = Time()
    settings = AlertSettings(
        mail_to=("soc@example.com", "night@example.com"), mail_from="toc@example.com", smtp=f"127.0.0.1:{port}",
        smtp_tls="starttls", ca_file=str(cert), console_url="https://toc.example/console",
    )  # fmt: skip
    watch = Watch(settings, engine, channels_of(settings), at.now, at.clock)
    await watch.step()
    await put(database, proceeded(1))
    await watch.step()
    (raw,) = box.mails
    mail = message_from_bytes(raw, policy=policy.default)
    assert mail["Subject"] == "Time-of-Click: proceeded: login[.]evil[.]example"
    assert (mail["To"], mail["Auto-Submitted"]) == ("soc@example.com, night@example.com", "auto-generated")
    body = mail.get_content()
    assert "hxxps://login[.]evil[.]example/pay?…" in body
    assert f"https://toc.example/console/clicks/{1:032x}" in body
    assert "s3cret" not in body


WRONG = {
    "a group that is none": {"alerts": {"rules": [{"name": "r", "group": "board"}]}},
    "a threat that is none": {"alerts": {"rules": [{"name": "r", "threats": ["plague"]}]}},
    "mail without a sender": {"alerts": {"mail_to": ["a@b.example"]}},
    "a server without a port": {"alerts": {"mail_to": ["a@b.example"], "mail_from": "c@b.example", "smtp": "mail"}},
    "a webhook without a secret": {"alerts": {"webhook": "https://a.example/"}},
    "an address that is none": {"alerts": {"syslog": "collector:514"}},
    "a file that is missing": {"alerts": {"ca_file": "/nowhere.pem"}},
    "a push without a secret": {"push": [{"name": "a", "to": "https://a.example/"}]},
    "a push to nowhere": {"push": [{"name": "a", "to": "ftp://a.example/"}]},
    "one name twice": {"push": [{"name": "a", "to": "syslog://a"}] * 2},
    "the name of the alerts' own row": {"push": [{"name": "alerts", "to": "syslog://a"}]},
}


@pytest.mark.parametrize("name", WRONG)
def test_settings_that_cannot_work_are_refused_at_the_start(name):
    with pytest.raises(ConfigError):
        pushing.check(convert(WRONG[name], "toc.toml"))

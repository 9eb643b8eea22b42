"""`toc doctor --mail` with a real Postfix, milter and service: every step holds; where one does not, that one is named."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.conftest import TOC, Service, start, stop
from tests.e2e.milter import Milter
from tests.e2e.postfix import Postfix, Sink, postfix, require
from tests.ports import free_port


class Doctor(Sink):
    """The address where the doctor itself listens while it waits."""

    def __init__(self) -> None:
        self.listens = free_port()

    @property
    def port(self) -> int:
        return self.listens


@dataclass
class Road:
    service: Service
    milter: Milter
    postfix: Postfix
    sink: Doctor

    def doctor(self, **changed: str) -> tuple[int, str]:
        settings = {
            "TOC_GATEWAY__SMTP": f"127.0.0.1:{self.postfix.port}",
            "TOC_GATEWAY__TEST_RECIPIENT": "doctor@example.net",
            "TOC_GATEWAY__TEST_SINK": f"127.0.0.1:{self.sink.port}",
            **changed,
        }
        command = [*TOC, "doctor", "--mail", "--config", str(self.service.settings)]
        environment = {**os.environ, **settings, "COLUMNS": "300"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    require("postfix")
    service = start(tmp_path_factory.mktemp("doctor"))
    sink = Doctor()
    milter = Milter(service.settings, f"127.0.0.1:{free_port()}")
    with postfix(sink, milter=milter.for_postfix) as server:
        milter.start()
        try:
            yield Road(service, milter, server, sink)
        finally:
            milter.stop()
            assert stop(service) == 0


def marks(text: str) -> dict[str, str]:
    """What each line says: mark by name."""
    names = ("gateway", "test mail", "link", "restore", "click log", "click")
    found = {}
    for line in text.splitlines():
        mark, _, rest = line.strip().partition(" ")
        for name in names:
            if rest.strip().startswith(name + " "):
                found.setdefault(name, mark)
                break
    return found


def test_every_step_holds(road: Road) -> None:
    code, said = road.doctor()
    assert marks(said) == dict.fromkeys(("gateway", "test mail", "link", "restore", "click", "click log"), "ok"), said
    assert code == 0
    (click,) = road.service.clicks(domain="example.org")
    assert click["recipients"] == ["doctor@example.net"]
    assert click["subject"] == "test mail of toc doctor"


def test_without_an_address_nothing_is_sent(road: Road) -> None:
    code, said = road.doctor(TOC_GATEWAY__TEST_RECIPIENT="")
    assert marks(said) == {"test mail": "?"}
    assert code == 0


def test_a_gateway_that_is_away_is_named(road: Road) -> None:
    code, said = road.doctor(TOC_GATEWAY__SMTP=f"127.0.0.1:{free_port()}")
    assert marks(said) == {"gateway": "wrong"}
    assert code == 1


def test_a_milter_that_is_away_is_named(road: Road) -> None:
    road.milter.stop()
    try:
        code, said = road.doctor()
    finally:
        road.milter.start()
    assert marks(said) == {"gateway": "wrong"}
    assert "451" in said
    assert code == 1


def test_a_mail_that_was_not_rewritten_is_named(road: Road) -> None:
    with postfix(road.sink) as beside:
        code, said = road.doctor(TOC_GATEWAY__SMTP=f"127.0.0.1:{beside.port}")
    assert marks(said) == {"gateway": "ok", "test mail": "ok", "link": "wrong"}
    assert code == 1


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:port"])
def test_an_address_that_is_none_is_named(road: Road, address: str) -> None:
    code, said = road.doctor(TOC_GATEWAY__SMTP=address)
    assert "[gateway] smtp" in said
    assert code == 1

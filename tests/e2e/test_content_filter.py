"""A real Postfix with deploy/postfix's after-queue filter: every recipient gets links of his own, mails arrive as `toc rewrite`
makes them, and while the service or the filter is gone the mail waits in the queue and then arrives once."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import Service
from tests.e2e.gateways import MAILS, OURS, PLAIN, Access, Away, access, all_faults, sample
from tests.e2e.postfix import Postfix, Submission, postfix, require, running_sink, send
from tests.ports import free_port

DEPLOY = ROOT / "deploy" / "postfix"


def as_deployed(there: int, back: int) -> tuple[dict[str, str], str]:
    """deploy/postfix's lines for main.cf and master.cf, with ports of this test."""

    def text(name: str) -> str:
        return (DEPLOY / name).read_text().replace("10025", str(there)).replace("10026", str(back))

    lines = [line.partition(" = ") for line in text("main.cf.after-queue").splitlines() if line[:1] not in ("", "#")]
    return {name: value for name, _, value in lines}, text("master.cf.after-queue")


@contextmanager
def content_filter(service: Access, folder: Path, there: int, back: int) -> Iterator[None]:
    key = folder / "key"
    key.write_text(service.key)
    command = [sys.executable, DEPLOY / "content_filter.py", "--api", service.admin, "--key-file", key]
    command += ["--listen", f"127.0.0.1:{there}", "--next", f"127.0.0.1:{back}"]
    with (folder / "filter.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def gateway() -> Iterator[tuple[Postfix, int, int]]:
    """Postfix as deployed, and the ports to the filter and back from it."""
    there, back = free_port(), free_port()
    settings, master = as_deployed(there, back)
    with running_sink() as sink, postfix(sink, settings=settings, master=master) as server:
        yield server, there, back


@pytest.fixture(scope="module")
def running(standing: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    require("postfix")
    with (
        gateway() as (server, there, back),
        content_filter(access(standing), tmp_path_factory.mktemp("filter"), there, back),
    ):
        yield server


def test_the_corpus_through_the_filter(running: Postfix, standing: Service, corpus: Path) -> None:
    mails = sample(corpus, MAILS)
    send(running, mails)
    refused = [mail.recipients for mail in mails if mail.answers != [250]]
    assert not refused
    running.wait_until_empty(120)
    assert not all_faults(standing, running.sink, mails, trace=1)


def test_each_recipient_gets_links_of_his_own(running: Postfix, standing: Service) -> None:
    recipients = ("one@example.net", "two@example.net", "three@example.net")
    send(running, [Submission("a@example.org", recipients, PLAIN)])
    running.wait_until_empty()
    bearers = []
    for recipient in recipients:
        (delivered,) = running.sink.mails[recipient]
        assert delivered.recipients == [recipient]
        found = OURS.search(delivered.content)
        assert found
        answer = standing.call("POST", "/v1/links/open", json={"link": standing.public + found.group().decode()})
        assert answer.json()["target"] == "https://one.example.org/a"
        bearers.append(answer.json()["recipient_ref"])
    assert len(set(bearers)) == 3
    assert "0" * 16 not in bearers


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        ("", "bounced@example.net"),  # a bounce has no sender
        ('"two words"@example.org', '"of two"@example.net'),
        ("a..b@example.org", ".dots.@example.net"),  # no dot-atom, and yet there are such mailboxes
        ("a+b=c/d@example.org", "x'y{z}@example.net"),
        ("a" * 64 + "@" + "b" * 60 + ".example.org", "c" * 64 + "@" + "d" * 60 + ".example.net"),
    ],
)
def test_addresses_pass_as_they_are(running: Postfix, sender: str, recipient: str) -> None:
    with running.connect() as client:
        client.ehlo()
        assert client.docmd(f"MAIL FROM:<{sender}>")[0] == 250
        assert client.docmd(f"RCPT TO:<{recipient}>")[0] == 250
        assert client.data(PLAIN)[0] == 250
    running.wait_until_empty()
    (delivered,) = running.sink.mails[recipient]
    assert delivered.sender == sender
    assert OURS.search(delivered.content)


def test_addresses_in_unicode_pass(running: Postfix) -> None:
    with running.connect() as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        assert client.docmd("MAIL FROM:<büro@example.org> SMTPUTF8")[0] == 250
        assert client.docmd("RCPT TO:<名前@example.net>")[0] == 250
        assert client.data(PLAIN)[0] == 250
    running.wait_until_empty()
    (delivered,) = running.sink.mails["名前@example.net"]
    assert delivered.sender == "büro@example.org"


def test_what_is_gone_makes_mail_wait_and_then_arrive_once(tmp_path: Path) -> None:
    require("postfix")
    away = Away.installed(tmp_path)
    mail = Submission("a@example.org", ("waits@example.net",), PLAIN)
    with gateway() as (server, there, back):
        send(server, [mail])  # neither filter nor service
        time.sleep(1.5)
        assert mail.answers == [250]
        assert len(server.queue()) == 1
        with content_filter(away, tmp_path, there, back):
            server.command("postqueue", "-f")
            time.sleep(2.5)  # a filter without its service
            assert len(server.queue()) == 1
            assert not server.sink.deliveries
            with away.back():
                server.wait_until_empty()
        (delivered,) = server.sink.mails["waits@example.net"]
        assert OURS.search(delivered.content)

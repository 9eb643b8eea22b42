"""A real Postfix with our milter, beside a second one without. What must hold:

every mail arrives exactly once, none with another's body; a mail without links arrives as the other Postfix delivers it,
byte for byte; links are rewritten as `toc rewrite` does; while the milter is killed, stopped, stalled or cut off, the mail
waits at its sender, and arrives once when the milter is back.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import socketserver
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from rewriter.api import Envelope, Outcome
from rewriter.milter.work import result
from tests.e2e.milter import Milter
from tests.e2e.postfix import (
    Postfix,
    Sink,
    Submission,
    crlf,
    postfix,
    require,
    running_sink,
    send,
    without_received,
)
from toc import startup
from toc.rewriting import Rewriting

LONG = os.environ.get("TOC_LONG") == "1"
GENERATED = 10_000 if LONG else 300
CUTS = 1000 if LONG else 60
CORPUS_STEP = 1 if LONG else 12
HEADER_LIMIT = 60_000
"""Bytes of one field: Postfix cuts longer ones off as soon as it has any milter (without: header_size_limit, 102,400)."""

OUR_LINK = re.compile(rb"http://links\.example\.net/u/")


@dataclass
class Gateway:
    milter: Milter
    with_us: Postfix
    alone: Postfix

    def expected(self, raw: bytes, mail: Submission) -> list[bytes]:
        """What `toc rewrite` makes of what Postfix shows the milter, with the field that the milter adds."""
        facts = Envelope(mail.sender, mail.recipients, client="127.0.0.1")
        found = []
        for hours in (0, 1):  # a link bears the hour of its making, and the run may have crossed one
            then = datetime.now(UTC) - timedelta(hours=hours)
            outcome = Rewriting(startup.read(self.milter.settings), lambda then=then: then).rewrite_message(raw, facts)
            found.append(with_result(outcome.outcome))
        return found


def with_result(outcome: Outcome) -> bytes:
    field = b"Toc-Result:" + result(outcome, version("time-of-click")) + b"\r\n" if outcome.changed else b""
    return field + outcome.body


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    require("postfix")
    milter = Milter.installed(tmp_path_factory.mktemp("gateway"))
    with (
        running_sink() as here,
        running_sink() as there,
        postfix(here, milter=milter.for_postfix) as with_us,
        postfix(there) as alone,
    ):
        yield Gateway(milter, with_us, alone)
        milter.stop()


@pytest.fixture
def gateway(installation: Gateway) -> Gateway:
    """With a milter that runs, whatever the test before did to it."""
    if not installation.milter.runs:
        installation.milter.start()
    return installation


def only(sink: Sink, recipient: str) -> bytes:
    """The one delivery to `recipient`."""
    mails = sink.mails[recipient]
    assert len(mails) == 1, f"{recipient} got {len(mails)} mails"
    return mails[0].content


def through_both(gateway: Gateway, mails: list[Submission]) -> None:
    for server in (gateway.with_us, gateway.alone):
        for mail in mails:
            mail.answers.clear()
        send(server, mails)
        refused = {mail.recipients[0]: mail.answers for mail in mails if mail.answers != [250]}
        assert not refused, (list(refused.items())[:5], server.log[-2000:])
    for server in (gateway.with_us, gateway.alone):
        server.wait_until_empty(600)


def check_all(gateway: Gateway, mails: list[Submission]) -> tuple[int, int]:
    """Hold every delivery against the other Postfix's and the rewriter's. Numbers of changed and of unchanged mails."""
    changed = 0
    rewriting = Rewriting(startup.read(gateway.milter.settings))
    for mail in mails:
        plain = without_received(only(gateway.alone.sink, mail.recipients[0]))
        ours = without_received(only(gateway.with_us.sink, mail.recipients[0]))
        facts = Envelope(mail.sender, mail.recipients, client="127.0.0.1")
        outcome = rewriting.rewrite_message(plain, facts).outcome
        if not outcome.changed:
            assert ours == plain, mail.recipients
            continue
        changed += 1
        assert ours == with_result(outcome) or ours in gateway.expected(plain, mail), mail.recipients
    return changed, len(mails) - changed


def corpus_mails(corpus: Path) -> Iterator[bytes]:
    for archive in sorted((corpus / "mail_share").glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    yield file.read()


def has_huge_field(content: bytes) -> bool:
    head = content.partition(b"\n\n" if b"\r\n\r\n" not in content else b"\r\n\r\n")[0]
    return any(len(field) > HEADER_LIMIT for field in re.split(rb"\r?\n(?![ \t])", head))


def test_the_corpus_arrives_once_and_as_expected(gateway: Gateway, corpus: Path) -> None:
    mails = [
        Submission("sender@example.org", (f"corpus{number}@example.net",), crlf(content))
        for number, content in enumerate(corpus_mails(corpus))
        if number % CORPUS_STEP == 0 and not has_huge_field(content)
    ]
    through_both(gateway, mails)
    changed, unchanged = check_all(gateway, mails)
    assert changed > len(mails) // 3
    assert unchanged > 0


def generated(number: int, rng: random.Random) -> Submission:
    """A mail that says its own number everywhere, so that it cannot be mistaken for another."""
    marker = f"number-{number}-{rng.getrandbits(64):x}"
    link = f"https://shop.example.org/{marker}?a=1&b={number}"
    lines = [f"{marker} {rng.getrandbits(200):x}" for _ in range(rng.choice((1, 20, 300, 3000)))]
    head = f"From: a@example.org\r\nTo: n{number}@example.net\r\nSubject:  {marker}\r\n\tfold\r\nMIME-Version: 1.0\r\n"
    match number % 3:
        case 0:
            text = head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + "\r\n".join(lines)
        case 1:
            text = head + "Content-Type: text/plain; charset=utf-8\r\n\r\n" + "\r\n".join([*lines, link])
        case _:
            body = f'<p><a href="{link.replace("&", "&amp;")}">{marker}</a>\r\n' + "<br>\r\n".join(lines)
            text = head + "Content-Type: text/html; charset=utf-8\r\n\r\n" + body
    return Submission(f"s{number}@example.org", (f"n{number}@example.net",), text.encode() + b"\r\n")


def test_a_generated_run_with_several_messages_per_session(gateway: Gateway) -> None:
    rng = random.Random(5)
    mails = [generated(number, rng) for number in range(GENERATED)]
    through_both(gateway, mails)
    for number, mail in enumerate(mails):
        ours = only(gateway.with_us.sink, mail.recipients[0])
        assert f"number-{number}-".encode() in ours
        assert set(re.findall(rb"number-(\d+)-", ours)) == {b"%d" % number}
        assert bool(OUR_LINK.search(ours)) is (number % 3 != 0)
    changed, unchanged = check_all(gateway, mails)
    assert (changed, unchanged) == (len(mails) - len(mails[::3]), len(mails[::3]))


def one(recipient: str, body: str = "See https://one.example.org/a\r\n") -> Submission:
    head = "From: a@example.org\r\nSubject: one\r\nContent-Type: text/plain\r\n\r\n"
    return Submission("a@example.org", (recipient,), (head + body).encode())


def arrives_once(gateway: Gateway, mail: Submission) -> None:
    """The sender tries again until it is taken, as a mail server does."""
    end = time.monotonic() + 120
    while not mail.answers or mail.answers[-1] != 250:
        assert time.monotonic() < end, mail.answers
        try:
            send(gateway.with_us, [mail])
        except OSError:
            time.sleep(0.2)
    gateway.with_us.wait_until_empty()
    delivered = only(gateway.with_us.sink, mail.recipients[0])
    assert OUR_LINK.search(delivered)
    assert b"https://one.example.org/a" not in delivered


def test_without_the_milter_mail_waits_and_then_arrives_once(gateway: Gateway) -> None:
    gateway.milter.kill()
    mail = one("killed@example.net")
    send(gateway.with_us, [mail])
    assert mail.answers == [451]
    assert not gateway.with_us.sink.mails["killed@example.net"]
    gateway.milter.start()
    arrives_once(gateway, mail)


def test_a_milter_that_stands_still_is_a_temporary_failure(gateway: Gateway) -> None:
    mail = one("stopped@example.net")
    gateway.milter.signal(signal.SIGSTOP)
    try:
        send(gateway.with_us, [mail])
    finally:
        gateway.milter.signal(signal.SIGCONT)
    assert mail.answers == [451]
    arrives_once(gateway, mail)


def test_a_milter_that_stalls_for_a_moment_costs_only_the_moment(gateway: Gateway) -> None:
    with gateway.with_us.connect() as client:
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt("stalled@example.net")
        gateway.milter.signal(signal.SIGSTOP)
        client.putcmd("data")
        client.getreply()
        client.send(one("stalled@example.net").content + b".\r\n")
        time.sleep(2)
        gateway.milter.signal(signal.SIGCONT)
        assert client.getreply()[0] == 250
    gateway.with_us.wait_until_empty()
    assert OUR_LINK.search(only(gateway.with_us.sink, "stalled@example.net"))


def test_a_milter_killed_in_mid_message_leaves_the_mail_with_its_sender(gateway: Gateway) -> None:
    mail = one("midway@example.net")
    with gateway.with_us.connect() as client:
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt("midway@example.net")
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(mail.content)
        gateway.milter.kill()
        client.send(b".\r\n")
        assert client.getreply()[0] == 451
    gateway.milter.start()
    arrives_once(gateway, mail)


def test_sessions_live_through_a_restart_that_was_asked_for(gateway: Gateway) -> None:
    """SIGTERM lets a mail under way finish."""
    mail = one("graceful@example.net", "See https://one.example.org/a\r\n" + "x" * 70 + "\r\n" * 100_000)
    with gateway.with_us.connect() as client:
        client.ehlo()
        client.mail("a@example.org")
        client.rcpt("graceful@example.net")
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(mail.content)
        assert gateway.milter.process is not None
        gateway.milter.process.terminate()
        client.send(b".\r\n")
        mail.answers.append(client.getreply()[0])
    gateway.milter.stop()
    gateway.milter.start()
    arrives_once(gateway, mail)


@contextmanager
def listening(answer: bytes) -> Iterator[str]:
    """Something that is no milter: it says `answer` and closes."""

    class Says(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Says) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"inet:127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_two_thousand_parts(gateway: Gateway) -> None:
    """Over the limit of parts: what could not be read is broken, and nothing is followable."""
    part = 'Content-Type: text/html\r\n\r\n<a href="https://one.example.org/a">x</a>\r\n'
    body = "".join(f"--b\r\n{part}" for _ in range(2000)) + "--b--\r\n"
    head = 'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    mail = Submission("a@example.org", ("parts@example.net",), (head + body).encode())
    send(gateway.with_us, [mail])
    assert mail.answers == [250]
    gateway.with_us.wait_until_empty()
    assert b"https://one.example.org/a" not in only(gateway.with_us.sink, "parts@example.net")


def test_fifty_megabytes_do_not_hold_up_the_others(gateway: Gateway) -> None:
    line = b"A" * 76 + b"\r\n"
    head = (
        b'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/html\r\n\r\n"
        b'<a href="https://one.example.org/a">x</a>\r\n'
        b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    )
    content = head + line * (50_000_000 // len(line)) + b"--b--\r\n"
    large = Submission("a@example.org", ("large@example.net",), content)
    small = [one(f"beside{number}@example.net") for number in range(20)]
    send(gateway.with_us, [large, *small], per_session=1, sessions=2)
    assert [mail.answers for mail in (large, *small)] == [[250]] * 21
    gateway.with_us.wait_until_empty(120)
    delivered = only(gateway.with_us.sink, "large@example.net")
    assert OUR_LINK.search(delivered)
    assert delivered.endswith(line * 1000 + b"--b--\r\n")
    for mail in small:
        assert OUR_LINK.search(only(gateway.with_us.sink, mail.recipients[0]))


def test_several_recipients_get_one_mail(gateway: Gateway) -> None:
    mail = one("r1@example.net")
    both = Submission(mail.sender, ("r1@example.net", "r2@example.net"), mail.content)
    send(gateway.with_us, [both])
    gateway.with_us.wait_until_empty()
    assert only(gateway.with_us.sink, "r1@example.net") == only(gateway.with_us.sink, "r2@example.net")


def test_cut_at_random_no_mail_is_lost_doubled_or_partial(gateway: Gateway) -> None:
    """A client that goes away in mid-message has not handed over anything: nothing of it may arrive."""
    rng = random.Random(9)
    for number in range(CUTS):
        mail = one(f"cut{number}@example.net", f"https://one.example.org/a cut {number}\r\n" + "filler\r\n" * 2000)
        stream = b"EHLO c\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<" + mail.recipients[0].encode() + b">\r\nDATA\r\n"
        stream += mail.content + b".\r\n"
        with socket.create_connection(("127.0.0.1", gateway.with_us.port)) as client:
            client.sendall(stream[: rng.randrange(len(stream) - 5)])
    time.sleep(0.5)
    mails = [one(f"cut{number}@example.net", f"https://one.example.org/a cut {number}\r\n") for number in range(CUTS)]
    send(gateway.with_us, mails)
    gateway.with_us.wait_until_empty()
    for number, mail in enumerate(mails):
        delivered = only(gateway.with_us.sink, mail.recipients[0])
        assert delivered.endswith(f" cut {number}\r\n".encode())
        assert OUR_LINK.search(delivered)


def test_the_milter_is_cut_at_random_and_every_mail_arrives_once(gateway: Gateway) -> None:
    """Killed in the middle of a stream of mails: those that were refused are sent again, those taken are not."""
    rng = random.Random(13)
    mails = [
        one(f"storm{number}@example.net", f"https://one.example.org/a storm {number}\r\n") for number in range(CUTS)
    ]
    waiting = list(mails)
    for _ in range(3):
        send(gateway.with_us, waiting[: len(waiting) // 2])
        gateway.milter.kill()
        send(gateway.with_us, waiting[len(waiting) // 2 :])
        gateway.milter.start()
        waiting = [mail for mail in mails if 250 not in mail.answers]
        rng.shuffle(waiting)
    send(gateway.with_us, waiting)
    gateway.with_us.wait_until_empty()
    assert any(451 in mail.answers for mail in mails)
    for number, mail in enumerate(mails):
        delivered = only(gateway.with_us.sink, mail.recipients[0])
        assert delivered.endswith(f" storm {number}\r\n".encode())
        assert OUR_LINK.search(delivered)


GARBAGE = [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 100, b"\0\0\0\0", b"\0\0\0\x01O"]


@pytest.mark.parametrize("answer", GARBAGE, ids=["closes", "http", "ff", "empty", "short offer"])
def test_garbage_from_what_should_be_the_milter(answer: bytes) -> None:
    with running_sink() as sink, listening(answer) as where, postfix(sink, milter=where) as server:
        mail = one("garbage@example.net")
        send(server, [mail])
        assert mail.answers == [451]
        assert not server.queue()
        assert not sink.deliveries


def test_a_hold_waits_in_the_queue_as_configured(gateway: Gateway) -> None:
    """`on_unscannable = "hold"`: Postfix takes the mail and keeps it for the postmaster."""
    milter = gateway.milter.with_settings("hold", '[rewriter]\non_unscannable = "hold"\nmax_parts = 3\n')
    with running_sink() as sink, postfix(sink, milter=milter.for_postfix) as server:
        milter.start()
        try:
            body = "".join("--b\r\n\r\nhttps://one.example.org/a\r\n" for _ in range(9)) + "--b--\r\n"
            head = 'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
            mail = Submission("a@example.org", ("held@example.net",), (head + body).encode())
            send(server, [mail])
            assert mail.answers == [250]
            (waiting,) = server.queue()
            assert '"queue_name": "hold"' in waiting
            assert not sink.deliveries
        finally:
            milter.stop()

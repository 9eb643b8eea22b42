"""What the tests of gateways without a milter share: mails of the corpus, and whether they arrived as `toc rewrite` makes them.

The links of a mail depend on its exact bytes, which bear each server's own trace. So what arrived is restored, which gives
the bytes that the gateway handed over, and those are rewritten once more: the two must be the same, body for body.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import Service, install, serve, stop
from tests.e2e.postfix import Sink, Submission, crlf, without_received
from tests.ports import free_port

SENDER = "sender@example.org"
MAILS = 300 if os.environ.get("TOC_LONG") == "1" else 40
"""Mails of the corpus that each gateway is given."""

OURS = re.compile(rb"/u/[a-z0-9.-]+/1[A-Za-z0-9_-]{40,}")


PLAIN = b"From: a@example.org\r\nSubject: x\r\n\r\nSee https://one.example.org/a\r\n"


@dataclass(frozen=True)
class Access:
    """What a gateway is told of the service: its management address and a key."""

    admin: str
    key: str


@dataclass(frozen=True)
class Away(Access):
    """A service that is installed and does not run."""

    folder: Path
    settings: Path

    @classmethod
    def installed(cls, folder: Path) -> Away:
        address = f"127.0.0.1:{free_port()}"
        settings, key = install(folder, admin=address)
        return cls(f"http://{address}", key, folder, settings)

    @contextmanager
    def back(self) -> Iterator[None]:
        """While it runs after all."""
        running = serve(self.folder, self.settings, self.key, "--workers", "1")
        try:
            yield
        finally:
            assert stop(running) == 0


def access(service: Service) -> Access:
    return Access(service.admin, service.key)


def sample(corpus: Path, wanted: int) -> list[Submission]:
    """`wanted` mails of the corpus, spread over all of it, each to a recipient of its own."""
    contents = list(_contents(corpus))
    step = len(contents) / wanted
    chosen = [contents[int(number * step)] for number in range(wanted)]
    return [Submission(SENDER, (f"g{number}@example.net",), crlf(mail)) for number, mail in enumerate(chosen)]


def _contents(corpus: Path) -> Iterator[bytes]:
    for archive in sorted((corpus / "mail_share").glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                content = file.read() if file is not None else b""
                if _is_mail(content):
                    yield content


def _is_mail(content: bytes) -> bool:
    """A header, an empty line, a body, no stray CR: what is none of the kind each server repairs in its own way."""
    if re.search(rb"\r(?!\n)", content):
        return False
    return bool(re.match(rb"(?:[!-9;-~]+:[^\r\n]*\r?\n(?:[ \t][^\r\n]*\r?\n)*)+\r?\n", content))


def body(message: bytes) -> bytes:
    return message.partition(b"\r\n\r\n")[2]


def restored(service: Service, delivered: bytes) -> bytes:
    answer = service.call("POST", "/v1/messages/restore", content=delivered, headers={"Content-Type": "message/rfc822"})
    assert answer.status_code in (200, 204), (answer.status_code, answer.headers, answer.text)
    return answer.content if answer.status_code == 200 else delivered


def all_faults(service: Service, sink: Sink, mails: list[Submission], trace: int = 0) -> dict[str, list[str]]:
    """By recipient, what is wrong with the deliveries. `trace`: fields that servers behind the rewriting put on top."""
    found = {}
    for mail in mails:
        (recipient,) = mail.recipients
        contents = [delivered.content for delivered in sink.mails[recipient]]
        for _ in range(trace):
            contents = [without_received(content) for content in contents]
        wrong = faults(service, contents[0], mail) if len(contents) == 1 else [f"arrived {len(contents)} times"]
        if wrong:
            found[recipient] = wrong
    return found


def faults(service: Service, delivered: bytes, mail: Submission) -> list[str]:
    """What is wrong with a delivery; nothing if it is as it should be."""
    handed_over = restored(service, delivered)
    answer = service.rewrite(handed_over, mail.recipients[0], **{"Toc-Sender": mail.sender})
    expected = answer.content if answer.status_code == 200 else handed_over
    found = []
    if body(delivered) != body(expected):
        found.append("not what toc rewrite makes")
    if body(handed_over).rstrip(b"\r\n") != body(mail.content).rstrip(b"\r\n"):
        found.append("the original's body does not come back")
    return found

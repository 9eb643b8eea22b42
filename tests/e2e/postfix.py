"""A private Postfix on high ports, and a sink that keeps what it delivers. For tests and benchmarks; needs root.

Nothing of the system's own Postfix is used but its programs: configuration, queue, data and log lie in a temporary folder
under /tmp, as its unprivileged processes must reach them.
"""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.ports import free_port

MASTER = """\
127.0.0.1:{port} inet n - n - {smtpds} smtpd
{more}pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - {smtps} smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

SETTINGS = {
    "compatibility_level": "3.6",
    "myhostname": "mx.example.net",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "mydestination": "",
    "local_recipient_maps": "",
    "local_transport": "error:no local mail here",
    "alias_maps": "",
    "alias_database": "",
    "local_header_rewrite_clients": "",
    "smtpd_peername_lookup": "no",
    "smtpd_recipient_restrictions": "permit_mynetworks,reject",
    "smtpd_error_sleep_time": "0",
    "smtpd_client_connection_count_limit": "0",
    "smtp_dns_support_level": "disabled",
    "smtp_line_length_limit": "0",
    "message_size_limit": "150000000",
    "mailbox_size_limit": "0",
    "milter_default_action": "tempfail",
    "milter_connect_timeout": "5s",
    "milter_command_timeout": "5s",
    "milter_content_timeout": "20s",
    "queue_run_delay": "2s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "4s",
    "in_flow_delay": "0",
    "biff": "no",
}
"""As the documents of deploy/postfix say, but for times that suit a test."""


@dataclass
class Mail:
    sender: str
    recipients: list[str]
    content: bytes


NOBODY = "<>"


class Sink:
    """An SMTP server that keeps every mail whole, by recipient."""

    def __init__(self) -> None:
        self.mails: dict[str, list[Mail]] = defaultdict(list)
        self.deliveries: list[Mail] = []
        self._controller = _Controller(self, "127.0.0.1", free_port())

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        mail = Mail(
            (envelope.mail_from or "").removeprefix(NOBODY),
            list(envelope.rcpt_tos),
            bytes(envelope.original_content or b""),
        )
        self.deliveries.append(mail)
        for recipient in mail.recipients:
            self.mails[recipient].append(mail)
        return "250 kept"

    @property
    def port(self) -> int:
        return int(self._controller.port)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()


class _Server(SMTP):
    line_length_limit = 1 << 30  # mails of the corpus have lines of any length

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """aiosmtpd refuses the empty sender of bounces."""
        return (NOBODY, arg.partition(" ")[2]) if arg.startswith(NOBODY) else super()._getaddr(arg)


class _Controller(Controller):
    def factory(self) -> SMTP:
        return _Server(self.handler, data_size_limit=None, enable_SMTPUTF8=True, hostname="sink.example.net")


@dataclass
class Postfix:
    """A running instance."""

    folder: Path
    port: int
    sink: Sink

    def command(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [require(name), "-c", str(self.folder / "etc"), *arguments], check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr + self.log
        return done.stdout

    @property
    def log(self) -> str:
        return (self.folder / "log" / "mail.log").read_text("utf-8", "replace")

    def queue(self) -> list[str]:
        """One line of JSON per mail that waits or is held."""
        return [line for line in self.command("postqueue", "-j").splitlines() if line]

    def wait_until_empty(self, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while self.queue():
            assert time.monotonic() < end, f"still queued: {self.queue()[:3]}\n{self.log[-3000:]}"
            time.sleep(0.1)

    def connect(self, timeout: float = 120) -> smtplib.SMTP:
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example.org", timeout=timeout)


def require(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/lib/postfix/sbin")
    if path is None:
        if os.environ.get("TOC_REQUIRE_SERVERS"):
            pytest.fail(f"{name} is required here and not installed")
        pytest.skip(f"{name} is not installed: apt-get install postfix")
    return path


@contextmanager
def postfix(
    sink: Sink, *, milter: str = "", settings: dict[str, str] | None = None, master: str = "", smtpds: int = 20
) -> Iterator[Postfix]:
    """Start an instance that relays everything to `sink`.

    milter: Postfix's word for it, ``inet:127.0.0.1:PORT``; master: more lines of master.cf
    """
    require("postfix")
    if os.geteuid() != 0:
        pytest.skip("a private Postfix must be started by root")
    folder = Path(tempfile.mkdtemp(prefix="postfix-test-"))
    folder.chmod(0o755)
    port = free_port()
    for name in ("etc", "queue", "data", "log"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    places = {
        "queue_directory": str(folder / "queue"),
        "data_directory": str(folder / "data"),
        "maillog_file": str(folder / "log" / "mail.log"),
        "maillog_file_prefixes": str(folder),
        "relayhost": f"[127.0.0.1]:{sink.port}",
    }
    chosen = SETTINGS | places | ({"smtpd_milters": milter} if milter else {}) | (settings or {})
    (folder / "etc" / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in chosen.items()))
    (folder / "etc" / "master.cf").write_text(MASTER.format(port=port, smtpds=smtpds, smtps=smtpds, more=master))
    instance = Postfix(folder, port, sink)
    try:
        instance.command("postfix", "start")
        _wait_for(port, instance)
        yield instance
    finally:
        subprocess.run([require("postfix"), "-c", str(folder / "etc"), "stop"], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_sink() -> Iterator[Sink]:
    sink = Sink()
    sink.start()
    try:
        yield sink
    finally:
        sink.stop()


def _wait_for(port: int, instance: Postfix) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, instance.log
            time.sleep(0.05)
        else:
            return


@dataclass
class Submission:
    """A mail to be sent, and what the server said to it."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    answers: list[int] = field(default_factory=list)


def crlf(content: bytes) -> bytes:
    """As a mail goes over the wire."""
    return re.sub(rb"\r?\n", b"\r\n", content)


def send(server: Postfix, mails: Iterable[Submission], *, per_session: int = 7, sessions: int = 4) -> None:
    """Send all, several in one session, several sessions at once. Each mail's answer goes on its record."""
    waiting = list(mails)
    groups = [waiting[start : start + per_session] for start in range(0, len(waiting), per_session)]
    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(lambda group: _session(server, group), groups))


def _session(server: Postfix, mails: list[Submission]) -> None:
    with server.connect() as client:
        client.ehlo()
        for mail in mails:
            mail.answers.append(_one(client, mail))


def _one(client: smtplib.SMTP, mail: Submission) -> int:
    try:
        client.sendmail(mail.sender, list(mail.recipients), mail.content, mail_options=["BODY=8BITMIME"])
    except smtplib.SMTPResponseException as error:
        return int(error.smtp_code)
    except smtplib.SMTPRecipientsRefused as error:
        return int(next(iter(error.recipients.values()))[0])
    return 250


def without_received(content: bytes) -> bytes:
    """A delivered mail without the field that this very Postfix put on top: it bears time and queue id."""
    match = re.match(rb"Received: [^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n", content)
    assert match, content[:200]
    return content[match.end() :]

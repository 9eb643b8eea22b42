"""A real Postfix with a real rspamd as its milter and deploy/rspamd's plugin: bodies arrive as `toc rewrite` makes them, fields
of ours come and go, and while the service does not answer the sender keeps the mail.

rspamd shows a filter the header without the exact blanks behind the colons, and a link depends on the exact message. So a relay
before the service keeps what rspamd asked about, and that is what the delivery is held against.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, require_program
from tests.e2e.conftest import Service
from tests.e2e.gateways import MAILS, OURS, PLAIN, Access, access, body, restored, sample
from tests.e2e.postfix import Postfix, Submission, postfix, require, running_sink, send, without_received
from tests.ports import free_port

PLUGIN = ROOT / "deploy" / "rspamd"
LETS_THROUGH = """\
rspamd_config:register_symbol({
  name = 'LETS_THROUGH',
  type = 'prefilter',
  callback = function(task)
    if task:has_header('X-Let-Through') then task:set_pre_result('no action', 'known', 'lets_through') end
  end,
})
"""
"""Another rule, which ends the judgement of some mails before it has begun, as rspamd's own lists of the known good do."""
CONFIG = """\
options {{
  filters = "";
  tempdir = "{folder}";
  pidfile = "{folder}/pid";
  control_socket = "{folder}/control mode=0600";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  disable_hyperscan = true;
  max_message = 100M;
  dns {{ nameserver = ["127.0.0.1:9"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "file"; filename = "{folder}/log"; level = "info"; }}
modules {{ path = "{plugin}/toc.lua"; }}
lua = "{folder}/lets_through.lua";
toc {{ url = "{api}"; key_file = "{folder}/key"; timeout = 20; }}
worker "controller" {{ bind_socket = "127.0.0.1:{controller}"; count = 1; }}
worker "rspamd_proxy" {{
  bind_socket = "127.0.0.1:{port}";
  count = 1;
  {proxy}
}}
"""


@dataclass
class Relay:
    """Hands every request on to the service, and keeps what was asked by recipients. It can be told to be gone, or slow."""

    service: Access
    asked: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    gone: bool = False
    slow: float = 0
    port: int = 0

    def hand_on(self, handler: BaseHTTPRequestHandler) -> None:
        if self.gone:
            return
        raw = handler.rfile.read(int(handler.headers["Content-Length"]))
        time.sleep(self.slow)
        names = ("Authorization", "Content-Type", "Toc-Sender", "Toc-Recipient", "Toc-Client-Address", "Toc-Direction")
        headers = [(name, value) for name in names for value in handler.headers.get_all(name, [])]
        self.asked[tuple(handler.headers.get_all("Toc-Recipient", []))] = raw
        answer = httpx.post(self.service.admin + handler.path, content=raw, headers=headers, timeout=60)
        handler.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.startswith("toc-") or name == "content-type":
                handler.send_header(name, value)
        if answer.status_code != 204:
            handler.send_header("Content-Length", str(len(answer.content)))
        handler.end_headers()
        handler.wfile.write(answer.content)


@contextmanager
def relaying(service: Access) -> Iterator[Relay]:
    relay = Relay(service)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            relay.hand_on(self)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        relay.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield relay
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def rspamd(api: str, key: str) -> Iterator[str]:
    """A running rspamd; its word for Postfix."""
    program = require_program("rspamd")
    folder = Path(tempfile.mkdtemp(prefix="rspamd-test-"))
    folder.chmod(0o777)  # its workers run as nobody
    (folder / "key").write_text(key + "\n")
    (folder / "lets_through.lua").write_text(LETS_THROUGH)
    ports = {name: free_port() for name in ("controller", "port")}
    proxy = (PLUGIN / "worker-proxy.inc").read_text()
    text = CONFIG.format(folder=folder, plugin=PLUGIN, api=api, proxy=proxy, **ports)
    (folder / "rspamd.conf").write_text(text)
    command = [program, "-f", "-u", "nobody", "-g", "nogroup", "-c", folder / "rspamd.conf"]
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        end = time.monotonic() + 120
        while b"starting rspamd_proxy process" not in _log(folder):
            assert process.poll() is None, _log(folder)
            assert time.monotonic() < end, _log(folder)
            time.sleep(0.2)
        time.sleep(1)
        yield f"inet:127.0.0.1:{ports['port']}"
    finally:
        process.terminate()
        process.wait(40)
        shutil.rmtree(folder, ignore_errors=True)


def _log(folder: Path) -> bytes:
    return (folder / "out").read_bytes() + ((folder / "log").read_bytes() if (folder / "log").exists() else b"")


@dataclass
class Gateway:
    relay: Relay
    postfix: Postfix

    def deliver(self, mail: Submission) -> bytes:
        send(self.postfix, [mail])
        assert mail.answers == [250]
        self.postfix.wait_until_empty()
        (delivered,) = self.postfix.sink.mails[mail.recipients[0]]
        return delivered.content


@pytest.fixture(scope="module")
def gateway(standing: Service) -> Iterator[Gateway]:
    require("postfix")
    times = {"milter_content_timeout": "60s", "milter_command_timeout": "60s"}
    with (
        relaying(access(standing)) as relay,
        rspamd(f"http://127.0.0.1:{relay.port}", standing.key) as milter,
        running_sink() as sink,
        postfix(sink, milter=milter, settings=times) as server,
    ):
        yield Gateway(relay, server)


def test_the_corpus_through_rspamd(gateway: Gateway, standing: Service, corpus: Path) -> None:
    mails = [mail for mail in sample(corpus, MAILS) if b"XJS*C4JD" not in mail.content]  # GTUBE: refused as spam
    send(gateway.postfix, mails)
    refused = [(mail.recipients, mail.answers) for mail in mails if mail.answers != [250]]
    assert not refused
    gateway.postfix.wait_until_empty()
    wrong = {}
    for mail in mails:
        (delivered,) = gateway.postfix.sink.mails[mail.recipients[0]]
        raw = gateway.relay.asked[mail.recipients]
        answer = standing.rewrite(raw, mail.recipients[0], **{"Toc-Sender": mail.sender})
        expected = answer.content if answer.status_code == 200 else raw
        if body(delivered.content) != body(expected):
            wrong[mail.recipients[0]] = "not what toc rewrite makes"
        elif body(raw).rstrip(b"\r\n") != body(mail.content).rstrip(b"\r\n"):
            wrong[mail.recipients[0]] = "rspamd asked about another body"
    assert not wrong


def test_several_recipients_are_all_named(gateway: Gateway) -> None:
    recipients = ("one@example.net", "two@example.net")
    assert OURS.search(gateway.deliver(Submission("a@example.org", recipients, PLAIN)))
    assert recipients in gateway.relay.asked


def test_fields_come_and_go(gateway: Gateway) -> None:
    """A field that restores what the links alone cannot comes; forged ones go; the others stay, in their order."""
    head = b"Toc-Result: forged\r\nX-One: 1\r\nX-Two: 2\r\n\tfold\r\nX-One: 3\r\nToc-Restore: forged\r\n"
    mail = Submission("a@example.org", ("fields@example.net",), head + PLAIN.replace(b"https://one", b"HTTPS://One"))
    delivered = gateway.deliver(mail)
    fields = [
        line for line in delivered.partition(b"\r\n\r\n")[0].split(b"\r\n") if line[:2] == b"X-" or line == b"\tfold"
    ]
    assert fields == [b"X-One: 1", b"X-Two: 2", b"\tfold", b"X-One: 3"]
    assert b"forged" not in delivered
    assert delivered.lower().count(b"\ntoc-restore:") == 1


def test_while_the_service_is_gone_the_sender_keeps_the_mail(gateway: Gateway) -> None:
    mail = Submission("a@example.org", ("waits@example.net",), PLAIN)
    gateway.relay.gone = True
    try:
        send(gateway.postfix, [mail])
    finally:
        gateway.relay.gone = False
    assert mail.answers == [451]
    assert not gateway.postfix.sink.mails["waits@example.net"]
    mail.answers.clear()
    assert OURS.search(gateway.deliver(mail))


def test_a_folded_header_is_asked_about_and_restored_as_it_came(gateway: Gateway, standing: Service) -> None:
    """With one blank behind each colon, which is all that rspamd shows. The spelling of the link needs Toc-Restore."""
    content = b"X-One: 1\r\n\tfold\r\n" + PLAIN.replace(b"https://one", b"HTTPS://One")
    mail = Submission("a@example.org", ("folded@example.net",), content)
    delivered = without_received(gateway.deliver(mail))
    assert gateway.relay.asked[mail.recipients] == content
    assert OURS.search(delivered)
    assert restored(standing, delivered) == content


def test_what_another_rule_lets_through_is_rewritten(gateway: Gateway) -> None:
    mail = Submission("a@example.org", ("through@example.net",), b"X-Let-Through: yes\r\n" + PLAIN)
    assert OURS.search(gateway.deliver(mail))


def test_a_slow_service_never_lets_mail_through_raw(gateway: Gateway) -> None:
    """Slower than rspamd's own limit for a task, which is eight seconds where nothing else is said."""
    mail = Submission("a@example.org", ("slow@example.net",), PLAIN)
    gateway.relay.slow = 12
    try:
        send(gateway.postfix, [mail])
    finally:
        gateway.relay.slow = 0
    if mail.answers == [250]:
        gateway.postfix.wait_until_empty()
        (delivered,) = gateway.postfix.sink.mails["slow@example.net"]
        assert OURS.search(delivered.content)
    else:
        assert mail.answers == [451]

"""A real Haraka with deploy/haraka's plugin: mails arrive as `toc rewrite` makes them; while the service does not answer, the
sender keeps the mail."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_program
from tests.e2e.conftest import Service
from tests.e2e.gateways import MAILS, OURS, PLAIN, Access, Away, access, all_faults, sample
from tests.e2e.postfix import Postfix, Sink, Submission, running_sink, send
from tests.ports import free_port

PACKAGE = "Haraka@3"
CONFIG = {
    "me": "mx.example.net\n",
    "plugins": "take\ntoc\nqueue/smtp_forward\n",
    "smtp.ini": "listen=127.0.0.1:{port}\nnodes=0\n",
    "smtp_forward.ini": "host=127.0.0.1\nport={inner}\n",
    # Haraka breaks longer lines itself; what is compared here is our change alone. It wants every section to be there.
    "connection.ini": "[haproxy]\n[headers]\n[max]\nbytes=100000000\ndata_line_length=10000000\n[message]\n[uuid]\n",
    "toc.ini": "api={api}\nkey_file={key}\ntimeout=20\n",
}
TAKE = "exports.hook_rcpt = (next) => next(OK)\n"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the package in its node_modules."""
    node = require_program("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip("v\n").partition(".")[0]) < 20:
        pytest.skip(f"Haraka needs node 20 or later; here is {version}")
    npm = require_program("npm")
    folder = tmp_path_factory.mktemp("npm")
    command = [npm, "install", "--no-audit", "--no-fund", "--omit=optional", "--ignore-scripts", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if os.environ.get("TOC_REQUIRE_SERVERS"):
            pytest.fail(f"Haraka is required here: {done.stderr}")
        pytest.skip("the package Haraka cannot be fetched from npm")
    return folder


@contextmanager
def haraka(modules: Path, folder: Path, service: Access, sink: Sink) -> Iterator[Postfix]:
    port = free_port()
    (folder / "config").mkdir()
    key = folder / "key"
    key.write_text(service.key + "\n")
    shutil.copytree(ROOT / "deploy" / "haraka" / "plugins", folder / "plugins")
    (folder / "plugins" / "take.js").write_text(TAKE)
    for name, text in CONFIG.items():
        values = {"port": port, "inner": sink.port, "api": service.admin, "key": key}
        (folder / "config" / name).write_text(text.format(**values))
    command = ["node", modules / "node_modules" / "Haraka" / "bin" / "haraka", "-c", folder]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)
    try:
        server = Postfix(folder, port, sink)
        end = time.monotonic() + 40
        while True:
            try:
                server.connect(timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait(40)


def test_the_corpus_through_haraka(modules: Path, tmp_path: Path, standing: Service, corpus: Path) -> None:
    mails = sample(corpus, MAILS)
    with running_sink() as sink, haraka(modules, tmp_path, access(standing), sink) as server:
        send(server, mails)
        refused = [(mail.recipients, mail.answers) for mail in mails if mail.answers != [250]]
        assert not refused, (tmp_path / "log").read_text()[-3000:]
        assert not all_faults(standing, sink, mails)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("dots", "See https://one.example.org/a\r\n.\r\n..\r\n.dot\r\n"),
        ("no line at the end but the link's", "https://one.example.org/a\r\n"),
        ("large, spooled", "See https://one.example.org/a\r\n" + ("filler " * 10 + "\r\n") * 400_000),
        ("no links", ".\r\n nothing here\r\n"),
    ],
)
def test_bodies(modules: Path, tmp_path: Path, standing: Service, name: str, body: str) -> None:
    head = "From: a@example.org\r\nSubject: x\r\n\r\n"
    mail = Submission("sender@example.org", ("b@example.net",), (head + body).encode())
    with running_sink() as sink, haraka(modules, tmp_path, access(standing), sink) as server:
        send(server, [mail])
        assert mail.answers == [250]
        assert not all_faults(standing, sink, [mail])
        (delivered,) = sink.deliveries
        assert bool(OURS.search(delivered.content)) is ("https" in body)


def test_while_the_service_is_gone_the_sender_keeps_the_mail(modules: Path, tmp_path: Path) -> None:
    away = Away.installed(tmp_path)
    mail = Submission("a@example.org", ("waits@example.net",), PLAIN)
    (tmp_path / "haraka").mkdir()
    with running_sink() as sink, haraka(modules, tmp_path / "haraka", away, sink) as server:
        send(server, [mail])
        assert mail.answers == [450]
        assert not sink.deliveries
        with away.back():
            send(server, [mail])
        assert mail.answers == [450, 250]
        (delivered,) = sink.mails["waits@example.net"]
        assert OURS.search(delivered.content)

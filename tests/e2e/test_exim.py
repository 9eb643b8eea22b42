"""A real Exim with deploy/exim's transport and deploy/curl's filter: mails arrive as `toc rewrite` makes them, and wait while
the service does not answer.

Debian's Exim and Postfix cannot be installed together, so the package is unpacked beside the system. Exim insists on its
user: it runs in a mount namespace of its own where that user exists.
"""

from __future__ import annotations

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

UID = 64_321
SETTINGS = """\
exim_path = {binary}
keep_environment = LD_LIBRARY_PATH : PATH : TOC_API : TOC_KEY_FILE
primary_hostname = mx.example.net
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
deliver_drop_privilege = true
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
smtp_accept_max = 50
queue_run_max = 5
remote_max_parallel = 4
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
accept_8bitmime = true
message_size_limit = 100M
header_line_maxsize = 1M
acl_smtp_rcpt = take
acl_smtp_data = take
begin acl
take:
  accept
begin routers
inner:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = toc_smtp
begin transports
{transport}
  allow_localhost
  message_linelength_limit = 1G
begin retry
* * F,1h,1s
"""


class Exim(Postfix):
    """A running Exim; sending to it is as with Postfix."""

    def waiting(self) -> int:
        return len(list((self.folder / "spool" / "input").rglob("*-H")))

    def wait_until_empty(self, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while self.waiting():
            assert time.monotonic() < end, (self.folder / "log" / "mainlog").read_text()[-3000:]
            time.sleep(0.2)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the unpacked packages."""
    for name in ("unshare", "curl", "apt-get", "dpkg"):
        require_program(name)
    folder = tmp_path_factory.mktemp("exim")
    command = ["apt-get", "download", "-q", "exim4-daemon-light", "libidn12"]
    if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode != 0:
        pytest.skip("Debian's exim4-daemon-light cannot be fetched")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder], check=True)
    return folder


@contextmanager
def exim(unpacked: Path, service: Access, sink: Sink) -> Iterator[Exim]:
    folder = Path("/tmp") / f"exim-test-{free_port()}"  # its user must reach it
    port = free_port()
    for name in ("spool", "log", "bin"):
        (folder / name).mkdir(parents=True)
        shutil.chown(folder / name, UID, UID)
    folder.chmod(0o755)
    for part in ("sbin", "lib"):
        shutil.copytree(unpacked / "usr" / part, folder / "usr" / part)
    shutil.copy(ROOT / "deploy" / "curl" / "toc-rewrite", folder / "bin")
    (folder / "key").write_text(service.key)
    shutil.chown(folder / "key", UID, UID)
    binary = folder / "usr" / "sbin" / "exim4"
    transport = (ROOT / "deploy" / "exim" / "transport.conf").read_text()
    for word, value in {
        "INNER_HOST": "127.0.0.1",
        "INNER_PORT": sink.port,
        "TOC_FILTER": f"{folder}/bin/toc-rewrite",
    }.items():
        transport = transport.replace(word, str(value))
    (folder / "exim.conf").write_text(SETTINGS.format(binary=binary, folder=folder, port=port, transport=transport))
    for name, line in {"passwd": f"Debian-exim:x:{UID}:{UID}::/:/bin/false", "group": f"Debian-exim:x:{UID}:"}.items():
        (folder / name).write_text(Path("/etc", name).read_text() + line + "\n")
    script = "".join(f"mount --bind {folder}/{name} /etc/{name} && " for name in ("passwd", "group"))
    command = ["unshare", "-m", "sh", "-c", f"{script} exec {binary} -C {folder}/exim.conf -bdf -q1s"]
    environment = {
        "PATH": "/usr/bin:/bin",
        "LD_LIBRARY_PATH": str(next((folder / "usr" / "lib").glob("*-linux-gnu"))),
        "TOC_API": service.admin,
        "TOC_KEY_FILE": str(folder / "key"),
    }
    with (folder / "log" / "stderr").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    server = Exim(folder, port, sink)
    try:
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: Exim, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 20
    while True:
        try:
            server.connect(timeout=2).close()
        except OSError:
            said = (server.folder / "log" / "stderr").read_text()
            if "unshare failed" in said or "permission denied" in said:
                pytest.skip(f"no mount namespace here: {said}")
            assert process.poll() is None, said
            assert time.monotonic() < end, said
            time.sleep(0.1)
        else:
            return


def test_the_corpus_through_exim(unpacked: Path, standing: Service, corpus: Path) -> None:
    mails = sample(corpus, MAILS)
    with running_sink() as sink, exim(unpacked, access(standing), sink) as server:
        send(server, mails)
        refused = [mail.recipients for mail in mails if mail.answers != [250]]
        assert not refused
        server.wait_until_empty()
        assert not all_faults(standing, sink, mails)


def test_while_the_service_is_gone_mail_waits_and_then_arrives_once(unpacked: Path, tmp_path: Path) -> None:
    mail = Submission("a@example.org", ("waits@example.net",), PLAIN)
    away = Away.installed(tmp_path)
    with running_sink() as sink:
        with exim(unpacked, away, sink) as server:
            send(server, [mail])
            assert mail.answers == [250]
            time.sleep(2.5)
            assert not sink.deliveries
            assert server.waiting() == 1
            with away.back():
                server.wait_until_empty()
        (delivered,) = sink.mails["waits@example.net"]
        assert OURS.search(delivered.content)

"""The database locked, on a full disk, read-only: clicks go on, nothing is lost, and somebody is told.

Invariants: every click is answered as ever; each is on record, once, when the database is well again; meanwhile metric, log
and readiness say what is the matter, and afterwards that it is over. Disks are small tmpfs in a mount namespace of the
service's own; the test reaches them through ``/proc/PID/root`` and nsenter(1).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import require_program
from tests.e2e.clicking import AGENT, clicking, until_on_record
from tests.e2e.conftest import Service, install, serve, stop
from tests.e2e.processes import children, kill

SECONDS = 60 if os.environ.get("TOC_LONG") == "1" else 10
SMALL = "\n[spool]\nmegabytes = 8\n"
DISK = "56m"
"""Two files of the journal, one worker's spool, the database, and some room."""


@dataclass
class Node:
    """A service whose data folder is a disk of its own."""

    service: Service
    disk: Path

    @property
    def seen(self) -> Path:
        """Its disk, from outside."""
        return Path(f"/proc/{self.service.process.pid}/root{self.disk}")

    def entered(self, *command: str) -> list[str]:
        """The command line that runs this in the service's mount namespace."""
        return ["nsenter", "-t", str(self.service.process.pid), "-m", *command]

    def inside(self, *command: str) -> bytes:
        return subprocess.run(self.entered(*command), check=True, capture_output=True).stdout

    def sqlite(self, script: str) -> list[str]:
        """A Python program with the open database `d`. SQLite follows ``/proc/PID/root`` back to our own disk."""
        opened = f"import sqlite3, sys; d = sqlite3.connect('{self.disk}/db/toc.db', isolation_level=None, timeout=10)"
        return self.entered(sys.executable, "-c", f"{opened}; {script}")

    def record(self) -> Counter[int]:
        """How often each click's number stands in the record."""
        script = f"[print(a) for a, in d.execute(\"SELECT user_agent FROM clicks WHERE user_agent LIKE '{AGENT}%'\")]"
        found = subprocess.run(self.sqlite(script), check=True, capture_output=True, text=True).stdout
        return Counter(int(agent.removeprefix(AGENT)) for agent in found.splitlines())

    def trouble(self) -> tuple[float, str]:
        """The metric, and what readiness says."""
        metrics = self.service.call("GET", "/metrics").text
        found = re.search(r"^toc_database_refuses\{what=\"clicks\"\} (\S+)$", metrics, re.MULTILINE)
        ready = self.service.call("GET", "/readyz").json()
        return float(found.group(1)) if found else -1.0, ready["record"]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Keyset and settings stay where `toc init` put them; everything that is written lies on the small disk."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    unshare = require_program("unshare")
    require_program("nsenter")
    if subprocess.run([unshare, "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False).returncode != 0:
        pytest.skip("this machine does not let us mount a small disk")
    folder = tmp_path_factory.mktemp("node")
    disk = folder / "disk"
    disk.mkdir()
    settings, key = install(folder, more=SMALL)
    made = " && ".join(
        [
            f"mount -t tmpfs -o size={DISK} small {disk}",
            f"mkdir {disk}/db && cp {folder}/toc/toc.db {disk}/db/",
            f"export TMPDIR={disk} TOC_SERVICE__DATA_DIR={disk} TOC_SERVICE__DATABASE=sqlite:///{disk}/db/toc.db",
            'exec "$@"',
        ]
    )
    service = serve(folder, settings, key, "--workers", "1", before=[unshare, "-m", "sh", "-c", made, "sh"])
    try:
        yield Node(service, disk)
    finally:
        assert stop(service) == 0


@contextmanager
def locked(node: Node) -> Iterator[None]:
    """Another writer holds SQLite's lock."""
    holding = node.sqlite("d.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()")
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()


@contextmanager
def full(node: Node) -> Iterator[None]:
    """Not a byte is left on the disk, also for what the database grows by next."""
    filler = node.seen / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    yield
    filler.unlink()


@contextmanager
def read_only(node: Node) -> Iterator[None]:
    """As after an error of the disk. Whoever ships has to open the database anew."""
    folder = str(node.disk / "db")
    node.inside("mount", "--bind", folder, folder)
    node.inside("mount", "-o", "remount,bind,ro", folder)
    for pid, name in children(node.service.process.pid).items():
        if name == "toc-shipper":
            kill(pid)
    yield
    node.inside("umount", "-l", folder)


@pytest.mark.parametrize(
    ("fault", "said"),
    [(locked, "locked"), (full, "full"), (read_only, "readonly|unable to open")],
    ids=["locked", "full", "read-only"],
)
def test_clicks_go_on_nothing_is_lost_and_somebody_is_told(node: Node, fault: Callable, said: str) -> None:
    link = node.service.link("http://fault.example/")
    with clicking(link) as load:
        until(lambda: len(load.answered) > 20)
        assert node.trouble() == (0.0, "ok")
        with fault(node):
            until(lambda: node.trouble() == (1.0, "clicks wait for the database"))
            time.sleep(SECONDS)
            assert node.trouble()[0] == 1.0
        until(lambda: node.trouble() == (0.0, "ok"))
    assert load.unanswered == {}
    assert set(load.answered.values()) == {302}
    until_on_record(node.record, load)
    log = [json.loads(line) for line in (node.service.folder / "log").read_text().splitlines() if line[:1] == "{"]
    errors = {row["error"] for row in log if row["event"] == "commit_failed"}
    assert any(re.search(said, error) for error in errors), errors
    assert not [row for row in log if row["event"] == "record_lost"]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)

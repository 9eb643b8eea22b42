"""Nodes without a database: they open every link from files alone, and one that dies fails no click of the others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import require_program
from tests.e2e.conftest import Service, serve, start, stop
from tests.e2e.load import clicking, node, sealed_paths, spooled
from tests.e2e.test_load import children, recorded, until
from tests.ports import free_port

HAPROXY = """
global
    maxconn 2000
defaults
    mode http
    timeout connect 1s
    timeout client 30s
    timeout server 30s
    timeout check 10s
    retries 3
    option redispatch 1
    retry-on conn-failure empty-response response-timeout
frontend one
    bind 127.0.0.1:{port}
    default_backend nodes
backend nodes
    balance roundrobin
    option httpchk GET /healthz
    default-server check inter 300ms fall 2 rise 1 on-marked-down shutdown-sessions
    server a 127.0.0.1:{a}
    server b 127.0.0.1:{b}
"""


@contextmanager
def haproxy(folder: Path, a: int, b: int) -> Iterator[int]:
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, a=a, b=b))
    process = subprocess.Popen([require_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")])
    try:
        time.sleep(1)
        assert process.poll() is None
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "full").mkdir()
    service = start(tmp_path / "full", more="[link]\nmax_link = 300\n")
    yield service
    assert stop(service) == 0


def bare(full: Service, folder: Path) -> Service:
    port = free_port()
    settings = node(full.settings.parent, folder, port)
    return serve(folder, settings, "", "--only", "redirector")


def test_a_node_without_database_opens_inline_and_stored_links_and_says_what_it_cannot(
    full: Service, tmp_path: Path
) -> None:
    inline = full.link("https://inline.example/a")
    stored = full.link(f"https://stored.example/{'long/' * 50}end")
    assert "/2" in stored
    assert stop(full) == 0  # at its start it brings the stored-link file up to date
    again = serve(full.folder, full.settings, full.key)
    late = again.link(f"https://late.example/{'long/' * 50}end")
    lone = bare(again, tmp_path / "node")
    try:
        for link, target in ((inline, "https://inline.example/a"), (stored, "https://stored.example/")):
            answer = again.click(link.replace(again.public, lone.public))
            assert answer.status_code == 302
            assert answer.headers["location"].startswith(target)
        missing = again.click(late.replace(again.public, lone.public))
        assert missing.status_code == 503, "its target came after the copy: not a damaged link"
        assert not (tmp_path / "node" / "toc.db").exists()
        assert spooled(tmp_path / "node") == 2
    finally:
        assert stop(lone) == 0
        full.process = again.process


def test_one_of_two_nodes_behind_one_name_is_killed_under_load_and_no_click_fails(
    full: Service, tmp_path: Path
) -> None:
    first, second = bare(full, tmp_path / "a"), bare(full, tmp_path / "b")
    ports = [int(each.public.rpartition(":")[2]) for each in (first, second)]
    paths = sealed_paths(full.settings.parent / "keyset.json", 300, "nodes.example")
    with haproxy(tmp_path, *ports) as port, clicking(("127.0.0.1", port), paths, 100) as stream:
        time.sleep(2)
        for worker in children(first.process.pid).values():
            os.kill(worker, signal.SIGKILL)
        os.kill(first.process.pid, signal.SIGKILL)
        time.sleep(3)
    first.process.wait(10)
    assert stop(second) == 0
    assert set(stream.answers) == {302}, stream.answers
    kept = spooled(tmp_path / "a") + spooled(tmp_path / "b")
    assert kept >= stream.answers[302], "a click that was asked of both nodes is recorded by both"
    for name in ("a", "b"):
        spool = next((tmp_path / name / "spool").glob("clicks-0.spool"))
        shutil.copy(spool, full.settings.parent / "spool" / f"clicks-node-{name}.spool")
    assert until(lambda: recorded(full, "nodes.example") == kept)

"""The servers that the benches of the click ask: ours with a large list, Starlette's redirect, nginx's. Each on its core.

Ours is the product as an operator runs it: `toc serve` with keyset, list, database. Only the worker stands on the
measured core; recorder and management process share the other one with the load generator.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.verdict import entries, name
from reputation.generations import State, point_to, read_seed, write_state
from reputation.index_build import build
from tests.e2e.conftest import READER, Service, start, stop
from tests.ports import free_port
from toc.keys import load
from toc.token import Sealed, host_part, seal
from toc.url import parse

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = CORES[-1], CORES[0]

FEED = """
[[reputation.feeds]]
name = "bench"
url = "never-fetched.txt"
format = "domain_list"
refresh_minutes = 1000000
"""


@dataclass(frozen=True)
class Target:
    """A server to be asked. `pids`: the processes that do its work on the measured core."""

    name: str
    base: str
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """What its processes have used so far, in user and kernel mode (proc(5), fields 14 and 15)."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def pin(pid: int, core: int) -> None:
    """Every thread of a process."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def children(pid: int) -> dict[str, int]:
    """Name → process id."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in found}


def build_list(folder: Path, count: int) -> None:
    """A list of `count` host names as the service would have built it from its source."""
    lists = folder / "lists"
    built = datetime.now(UTC)
    build(entries(count), lists / "bench" / "g1.idx", generation="g1", seed=read_seed(lists), built_at=built)
    point_to(lists / "bench", "g1")
    write_state(lists / "bench", State(tried_at=built, success_at=built))


def paths(keyset_file: Path, count: int, hosts: int) -> list[str]:
    """Paths of `count` distinct links to `hosts` hosts, none of them listed."""
    keyset = load(keyset_file)
    now = datetime.now(UTC)
    found = []
    for number in range(count):
        url = parse(f"https://www.{name(2 * (number % hosts) + 1)}/a/b.html?id={number}")
        host = host_part(url)
        message, recipient = (number // 5).to_bytes(8, "big"), (number % 997 + 1).to_bytes(8, "big")
        sealed = Sealed(url.href, now, message_ref=message, recipient_ref=recipient)
        found.append(f"/u/{host}/{seal(sealed, host, keyset)}")
    return found


@contextlib.contextmanager
def ours(folder: Path, entries_of_list: int, more: str = "") -> Iterator[tuple[Target, Service]]:
    """`toc serve` with one worker and a list."""
    os.sched_setaffinity(0, {CLIENT_CORE})  # what is started from here stands on this core, until it is pinned
    build_list(folder / "toc", entries_of_list)
    service = start(folder, "--workers", "1", more=more + FEED)
    try:
        worker = children(service.process.pid)["toc-worker-0"]
        pin(worker, SERVER_CORE)
        yield Target("ours", service.public, (worker,)), service
    finally:
        stop(service)


STARLETTE = """
    import socket, sys
    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import RedirectResponse
    from starlette.routing import Route
    async def forward(request):
        return RedirectResponse("https://www.example.com/a/b.html?id=1", 302)
    app = Starlette(routes=[Route("/u/{host}/{token}", forward)])
    # As `toc.worker.serve_http` sets it.
    uvicorn.run(
        app, port=int(sys.argv[1]), http="httptools", loop="uvloop", ws="none", lifespan="off", log_config=None,
        access_log=False, server_header=False, proxy_headers=False, timeout_keep_alive=30, backlog=2048,
    )
"""


@contextlib.contextmanager
def starlette() -> Iterator[Target]:
    port = free_port()
    command = [sys.executable, "-c", textwrap.dedent(STARLETTE), str(port)]
    with _process(command, port) as process:
        yield Target("Starlette RedirectResponse", f"http://127.0.0.1:{port}", (process.pid,))


NGINX = """
    daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
    events {{ worker_connections 1024; }}
    http {{
        access_log off; client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
        uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; keepalive_requests 100000000;
        server {{ listen 127.0.0.1:{port}; return 302 https://www.example.com/a/b.html?id=1; }}
    }}
"""


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[Target | None]:
    """None where it is not installed."""
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        yield None
        return
    port = free_port()
    (folder / "nginx.conf").write_text(textwrap.dedent(NGINX.format(folder=folder, port=port)))
    with _process([program, "-c", str(folder / "nginx.conf"), "-e", str(folder / "nginx.log")], port) as process:
        workers = tuple(children(process.pid).values())
        for pid in workers:
            pin(pid, SERVER_CORE)
        yield Target("nginx", f"http://127.0.0.1:{port}", workers)


@contextlib.contextmanager
def _process(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/u/a/b", headers=READER)
                break
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.05)
        pin(process.pid, SERVER_CORE)
        yield process
    finally:
        process.terminate()
        process.wait(10)

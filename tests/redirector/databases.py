"""Both databases, really there: SQLite in a temporary folder, PostgreSQL started for the tests as a user without rights."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.conftest import require_program
from tests.ports import free_port
from toc.store import engine

AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups")  # initdb and postgres refuse root
PLACES = tuple(str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A server of its own; yields ``postgresql://…`` of its first database."""
    initdb = require_program("initdb", *PLACES)
    data = folder / "data"
    data.mkdir()
    if _prefix():
        shutil.chown(data, "nobody", "nogroup")
        for parent in (folder, *folder.parents):
            if parent.stat().st_uid == 0 and parent != Path("/") and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
    made = [*_prefix(), initdb, "-D", data, "-U", "toc", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd="/")
    port = free_port()
    with running_postgres(folder, port) as url:
        yield url


@contextlib.contextmanager
def running_postgres(folder: Path, port: int) -> Iterator[str]:
    """The server of this folder on this port; it may have been killed before."""
    run = [*_prefix(), require_program("postgres", *PLACES), "-D", folder / "data", "-p", str(port)]
    run += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=32MB"]
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(run, stdout=log, stderr=log, cwd="/")
    try:
        url = f"postgresql://toc@127.0.0.1:{port}/postgres"
        _await_answer(url, server, folder / "log")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def crash_postgres(folder: Path) -> None:
    """Its immediate shutdown: no client is told, nothing is written (`pg_ctl -m immediate`)."""
    os.kill(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGQUIT)


def _prefix() -> tuple[str, ...]:
    return AS_NOBODY if os.geteuid() == 0 else ()


def _await_answer(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    async def ask() -> None:
        connection = await asyncpg.connect(url, timeout=2.0)
        await connection.close()

    end = time.monotonic() + 30
    while True:
        try:
            asyncio.run(ask())
            return
        except (OSError, asyncpg.PostgresError, TimeoutError):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)


def empty(url: str, name: str) -> str:
    """A fresh database on the server of `url`, without a table."""

    async def create() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(f'CREATE DATABASE "{name}"')
        await connection.close()

    asyncio.run(create())
    return url.rpartition("/")[0] + f"/{name}"


def new_database(url: str, name: str) -> str:
    """The same with our schema."""
    made = empty(url, name)
    engine.upgrade(made)
    return made


def sqlite_database(folder: Path) -> str:
    """A fresh database with our schema in this folder."""
    (folder / "toc.db").write_bytes(_empty_database())
    return f"sqlite:///{folder}/toc.db"


@functools.cache
def _empty_database() -> bytes:
    """Brought to the schema once: that takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        engine.upgrade(f"sqlite:///{folder}/toc.db")
        return Path(folder, "toc.db").read_bytes()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    return empty_database(request, tmp_path)


def empty_database(request: pytest.FixtureRequest, folder: Path) -> str:
    """The same for a fixture of another scope, of the kind that its parameter names."""
    if request.param == "sqlite":
        return sqlite_database(folder)
    return new_database(request.getfixturevalue("postgres_server"), f"t{time.time_ns()}")

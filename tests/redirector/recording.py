"""A real recorder as a process of its own, for tests that stop, freeze and kill it; and a wire that can be made bad.

``python -m tests.redirector.recording FD FOLDER URL`` is that process: it records what comes in on the listening socket FD.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from redirector.record import Recorder
from redirector.recorder import run
from redirector.spool import Spool
from tests.conftest import ROOT
from tests.redirector.record_data import stored
from toc.config import Config, Service

COMMIT_SECONDS = 0.05
SPOOL_SIZE = 1 << 20


@dataclass
class Machine:
    """The recording side of one node: its folder, its database, its socket, and the process while it runs."""

    folder: Path
    database: str
    listener: socket.socket
    socket_path: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def spools(self) -> Path:
        return self.folder / "spool"

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.redirector.recording"]
        command += [str(self.listener.fileno()), str(self.folder), self.database]
        self.process = subprocess.Popen(
            command, pass_fds=[self.listener.fileno()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends it and wait."""
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        code = process.wait(30)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def restart(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.end(number)
        self.start()

    def until_stored(self, expected: set[str], seconds: float = 20.0) -> list[str]:
        """The ids in the database, once `expected` are all there; what is there in the end, if they never are."""
        end = time.monotonic() + seconds
        while True:
            found = stored(self.database)
            if expected <= set(found) or time.monotonic() > end:
                return found
            time.sleep(0.05)


@contextlib.contextmanager
def machine(folder: Path, database: str) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="toc-") as short:  # a Unix socket's path has 108 bytes at most
        path = Path(short, "recorder")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(64)
        listener.setblocking(False)
        made = Machine(folder, database, listener, path)
        made.spools.mkdir(exist_ok=True)
        try:
            yield made
        finally:
            if made.process is not None:
                made.send(signal.SIGCONT)
                made.end()
            listener.close()


@contextlib.asynccontextmanager
async def worker(machine: Machine, *, path: Path | None = None, size: int = SPOOL_SIZE) -> AsyncIterator[Recorder]:
    """A worker's side of the record, connected to the machine's socket or to the one at `path`."""
    spool = Spool.open(machine.spools / "clicks-0.spool", size)
    recorder = Recorder(path or machine.socket_path, spool, COMMIT_SECONDS)
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.close()
        spool.close()


@dataclass
class Wire:
    """What lies between a worker and the recorder: hands bytes on, and treats them badly where it is told to.

    delay: seconds that an answer is held back; piece: bytes handed on at once; cut: the connection breaks after so many
    bytes from the worker
    """

    delay: float = 0.0
    piece: int = 1 << 16
    cut: int | None = None
    passed: int = 0
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@contextlib.asynccontextmanager
async def wire(machine: Machine, how: Wire) -> AsyncIterator[Path]:
    """The path of a socket that leads to the recorder over `how`."""
    path = machine.socket_path.with_name("wire")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        how.connections += 1
        task = asyncio.current_task()
        assert task is not None
        how.tasks.add(task)
        there, back = await asyncio.open_unix_connection(str(machine.socket_path))
        ways = [asyncio.create_task(_to_recorder(reader, back, how)), asyncio.create_task(_back(there, writer, how))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, back):
                end.close()
            how.tasks.discard(task)

    server = await asyncio.start_unix_server(accept, str(path))
    try:
        yield path
    finally:
        server.close()
        for task in list(how.tasks):
            task.cancel()
        await asyncio.gather(*how.tasks, return_exceptions=True)


async def _to_recorder(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, how: Wire) -> None:
    while data := await reader.read(1 << 16):
        if how.cut is not None:
            room = how.cut - how.passed
            if len(data) >= room:
                writer.write(data[:room])
                await writer.drain()
                how.cut = None
                return
        how.passed += len(data)
        for place in range(0, len(data), how.piece):
            writer.write(data[place : place + how.piece])
            await writer.drain()


async def _back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, how: Wire) -> None:
    while data := await reader.read(1 << 16):
        await asyncio.sleep(how.delay)
        for place in range(0, len(data), how.piece):
            writer.write(data[place : place + how.piece])
            await writer.drain()
            if how.piece < len(data):
                await asyncio.sleep(0)


def main(handle: str, folder: str, database: str) -> None:
    config = Config(service=Service(data_dir=folder, database=database))
    listener = socket.socket(fileno=int(handle))
    run(config, listener, _say_ready)


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

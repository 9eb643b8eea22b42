"""The parent process: binds the sockets, starts the children, starts them anew when they die, ends them in order.

Knows processes and sockets. What a child does is handed in as a function; the parent itself serves nothing, holds no
thread and opens no database, so that a fork is always safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from toc.errors import ConfigError

log = structlog.get_logger("toc.supervisor")

GRACE_SECONDS = 20.0
"""How long a child may finish what it has begun before it is killed."""

READY_SECONDS = 60.0

BIND_SECONDS = 5.0
"""How long a new service waits for an address that the children of a killed one still hold while they finish."""


@dataclass
class Child:
    """One role. `stage`: children of a lower stage start first and end last."""

    name: str
    run: Callable[[Callable[[], None]], None]
    stage: int
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    ready: bool = False
    pipe: int = -1
    retiring: set[int] = field(default_factory=set)


class Supervisor:
    """Runs children until SIGTERM or SIGINT; SIGHUP replaces them one by one without closing a socket."""

    def __init__(self, children: list[Child], on_ready: Callable[[], None]) -> None:
        self._children = sorted(children, key=lambda child: child.stage)
        self._on_ready = on_ready
        self._announced = False
        self._stopping = False
        self._reload = False

    def run(self) -> int:
        """Blocks until the end. 0 after an orderly end, 1 where a child could not start at all."""
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)
        try:
            for stage in sorted({child.stage for child in self._children}):
                members = [child for child in self._children if child.stage == stage]
                for child in members:
                    self._start(child)
                if not self._await_ready(members):
                    return 1
            if not self._stopping:
                self._on_ready()
                self._announced = True
            self._watch()
        finally:
            self._end()
        return 0

    def _stop(self, _signal: int, _frame: object) -> None:
        self._stopping = True

    def _hang_up(self, _signal: int, _frame: object) -> None:
        self._reload = True

    def _start(self, child: Child) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._become(child, writer)
        os.close(writer)
        os.set_blocking(reader, False)
        if child.pipe >= 0:
            os.close(child.pipe)
        child.pid, child.pipe, child.ready, child.started = pid, reader, False, time.monotonic()

    def _become(self, child: Child, writer: int) -> None:
        """The child's whole life. Never returns."""
        code = 1
        die_with_parent()
        show_as(child.name)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us; a terminal tells the whole group

        def ready() -> None:
            with contextlib.suppress(BrokenPipeError):
                os.write(writer, b"1")

        try:
            child.run(ready)
            code = 0
        except Exception as error:
            log.exception("child_failed", child=child.name, error=str(error))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _await_ready(self, members: list[Child]) -> bool:
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end and not self._stopping:
            for child in members:
                self._look(child)
            if all(child.ready for child in members):
                return True
            for child in members:
                if not child.ready and self._has_ended(child):
                    log.error("child_did_not_start", child=child.name)
                    return False
            time.sleep(0.01)
        return self._stopping

    @staticmethod
    def _look(child: Child) -> None:
        if not child.ready:
            with contextlib.suppress(BlockingIOError):
                child.ready = os.read(child.pipe, 1) == b"1"

    @staticmethod
    def _has_ended(child: Child) -> bool:
        if child.pid == 0:
            return True
        pid, _ = os.waitpid(child.pid, os.WNOHANG)
        if pid:
            child.pid = 0
        return bool(pid)

    def _watch(self) -> None:
        while not self._stopping:
            for child in self._children:
                self._look(child)
                self._reap_retired(child)
                if self._has_ended(child):
                    self._start_again(child)
            if self._reload:
                self._reload = False
                self._roll()
            time.sleep(0.05)

    def _start_again(self, child: Child) -> None:
        """At once the first time; a child that dies young waits longer each time, up to 5 s."""
        now = time.monotonic()
        if child.started and now - child.started > 30:
            child.failures = 0
        delay = min(0.1 * 2**child.failures - 0.1, 5.0)
        if now - child.started < delay:
            return
        child.failures += 1
        log.error("child_restarted", child=child.name, failures=child.failures)
        self._start(child)

    def _roll(self) -> None:
        """A new process for each child but the recorder; the old one ends when the new one answers."""
        for child in self._children:
            if child.stage == 0:
                continue
            old = child.pid
            self._start(child)
            if self._await_ready([child]):
                child.retiring.add(old)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(old, signal.SIGTERM)
            else:
                log.error("reload_failed", child=child.name)
                child.pid, child.ready = old, True
        log.info("reloaded")

    @staticmethod
    def _reap_retired(child: Child) -> None:
        for pid in list(child.retiring):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            child.retiring.discard(pid)

    def _end(self) -> None:
        """Stage by stage, the last started first, so that the recorder takes every record before it ends."""
        for stage in sorted({child.stage for child in self._children}, reverse=True):
            members = [child for child in self._children if child.stage == stage]
            pids = {pid for child in members for pid in (child.pid, *child.retiring) if pid}
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            _await_end(pids)


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask the kernel for this signal when the parent is gone (prctl(2), PR_SET_PDEATHSIG): no orphan holds our port."""
    ctypes.CDLL(None).prctl(1, number)


def show_as(name: str) -> None:
    """The name of this process in ``ps`` and ``top`` (prctl(2), PR_SET_NAME: 15 bytes)."""
    ctypes.CDLL(None).prctl(15, f"toc-{name}"[:15].encode())


def _await_end(pids: set[int]) -> None:
    end = time.monotonic() + GRACE_SECONDS
    while pids:
        for pid in list(pids):
            try:
                if os.waitpid(pid, os.WNOHANG)[0]:
                    pids.discard(pid)
            except ChildProcessError:
                pids.discard(pid)
        if pids and time.monotonic() > end:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.01)


def bind(address: str, name: str) -> socket.socket:
    """A listening socket: the one that systemd handed over under this name, or a new one on ``HOST:PORT``.

    An address in use is asked for again for `BIND_SECONDS`. Raises ConfigError where it cannot be had, saying why.
    """
    handed = _from_systemd().get(name)
    if handed is not None:
        return socket.socket(fileno=handed)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"[service] {name}_listen = {address!r} must be ADDRESS:PORT")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        _bind_patiently(listener, (host, int(port)))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"[service] {name}_listen = {address!r}: {error.strerror or error}. Stop what uses it, or choose another"
        ) from None
    listener.setblocking(False)
    return listener


def _bind_patiently(listener: socket.socket, address: tuple[str, int]) -> None:
    end = time.monotonic() + BIND_SECONDS
    while True:
        try:
            return listener.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > end:
                raise
        time.sleep(0.05)


def _from_systemd() -> dict[str, int]:
    """Sockets by name (sd_listen_fds(3)): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return {name: 3 + index for index, name in enumerate(names[:count])}


def shown(listener: socket.socket) -> str:
    """``HOST:PORT`` of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def write_ready_file(path: Path, addresses: dict[str, str]) -> None:
    """Appears whole or not at all: whoever waits for it may read it at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(addresses) + "\n")
    os.rename(temporary, path)

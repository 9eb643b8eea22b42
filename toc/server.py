"""``toc serve``: reads and checks everything, binds the sockets, and hands each child what it needs.

supervisor ─┬─ recorder           takes clicks from the workers into its journal
            │   └─ shipper        brings them into the database
            ├─ worker 1..N        public listener
            └─ manager            management listener, lists, snapshot, rewriting pool
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import values

from toc import logs, policy_archive, pushing
from toc.errors import ConfigError, KeysetError
from toc.keys import load
from toc.startup import Startup
from toc.store import engine as store
from toc.supervisor import Child, Supervisor, bind, shown, write_ready_file

METRICS = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class Mode:
    """How `serve` was called. `sunset`: links open unchecked, by the keyset alone, and nothing else runs."""

    workers: int | None = None
    only_redirector: bool = False
    sunset: bool = False
    ready_file: Path | None = None

    @property
    def has_database(self) -> bool:
        return not (self.only_redirector or self.sunset)


def run(startup: Startup, mode: Mode) -> int:
    """Serve until SIGTERM. Raises TocError where something is wrong with what was configured."""
    logs.configure(startup.config.service.log_level)
    config = startup.config
    check_keyset(startup)
    make_directory(config.data_dir)
    policy_archive.keep(config, startup.policy)
    if mode.has_database:
        pushing.check(config)
        store.upgrade(config.database)
    public = bind(config.service.public_listen, "public")
    admin = bind(config.service.admin_listen, "admin") if mode.has_database else None
    runtime = Path(tempfile.mkdtemp(prefix="toc-", dir=runtime_parent()))  # mode 0700
    os.environ[METRICS] = str(runtime)
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call] # chosen at its import, before this
    try:
        recorder = unix_listener(runtime / "recorder")
        children = _children(startup, mode, public, admin, (recorder, runtime / "recorder"))

        def announce() -> None:
            addresses = {"public": shown(public)} | ({"admin": shown(admin)} if admin else {})
            if mode.ready_file:
                write_ready_file(mode.ready_file, addresses)

        return Supervisor(children, announce).run()
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def runtime_parent() -> str | None:
    """For sockets, whose paths must be short, and for counters, which are memory mapped files: in memory, if that can be
    had, as a write to one kills its process where the disk is full."""
    for folder in (os.environ.get("RUNTIME_DIRECTORY", ""), "/dev/shm"):  # noqa: S108 - systemd.exec(5); mkdtemp in it
        if folder and os.access(folder, os.W_OK):
            return folder
    return None


def check_keyset(startup: Startup) -> None:
    """The keyset opens, and its current public URL is the configured one. Raises KeysetError, ConfigError."""
    keyset = load(startup.config.keyset_path)
    configured = startup.config.service.public_url.rstrip("/")
    current = keyset.public_urls[0].href.rstrip("/")
    if configured and configured != current:
        known = [url.href.rstrip("/") for url in keyset.public_urls]
        if configured in known:
            raise KeysetError(
                f"[service] public_url {configured} is a former one; the keyset's current one is {current}"
            )
        raise ConfigError(
            f"[service] public_url = {configured!r}, but the keyset seals for {current!r}; "
            "`toc keys public-url URL` changes the keyset and keeps the former one for old mails"
        )


def make_directory(path: Path) -> None:
    """Raises ConfigError where the data folder cannot be used."""
    try:
        (path / "spool").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"[service] data_dir {path}: {error.strerror}") from None


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    os.chmod(path, 0o600)
    listener.listen(256)
    listener.setblocking(False)
    return listener


def _children(
    startup: Startup,
    mode: Mode,
    public: socket.socket,
    admin: socket.socket | None,
    recorder: tuple[socket.socket, Path],
) -> list[Child]:
    """What the children need is imported here, in the parent and before the first fork: they share its memory."""
    from redirector import recorder as recording
    from toc import management, worker

    config = startup.config
    database = config.database if mode.has_database else None

    listeners = {public, recorder[0]} | ({admin} if admin else set())

    def child(name: str, stage: int, own: socket.socket, run: Callable[[Callable[[], None]], None]) -> Child:
        def alone(ready: Callable[[], None]) -> None:
            """With no other listener than its own: whoever finishes late holds nobody else's address."""
            for other in listeners - {own}:
                other.close()
            run(ready)

        return Child(name, alone, stage)

    children = []
    for number in range(mode.workers or config.service.workers):
        place = worker.Place(number, public, recorder[1], database, mode.sunset)
        children.append(child(f"worker-{number}", 1, public, partial(worker.run, startup, place)))
    if admin is not None:
        children.append(child("recorder", 0, recorder[0], partial(recording.run, config, recorder[0])))
        children.append(child("manager", 1, admin, partial(management.run, startup, admin)))
    return children

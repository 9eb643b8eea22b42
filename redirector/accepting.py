"""Taking in connections: all that wait, many in one turn of the event loop.

uvloop takes one a turn (libuv, since 1.45). Under a flood of a few thousand connections a turn lasts a fifth of a second, and
a reader behind them in the queue waited until the flood was over.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable

import structlog

log = structlog.get_logger("redirector.accepting")

AT_ONCE = 512
PAUSE_SECONDS = 1.0
"""How long nothing is taken in where no file descriptor was left."""


class Acceptor:
    """One per listening socket and process. `protocol` makes that of a connection."""

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._protocol = protocol
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._take)

    def stop(self) -> None:
        """Nothing more is taken in; other processes may go on with the same socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("accept_failed", error=error.strerror or str(error))
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(PAUSE_SECONDS, self.start)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._hand_over(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hand_over(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it has gone already, or does not speak TLS
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)

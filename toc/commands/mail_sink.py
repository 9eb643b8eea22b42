"""An SMTP server that waits for one mail: the far end of ``toc doctor --mail``. Knows RFC 5321's minimum."""

from __future__ import annotations

import queue
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_LINE = 1 << 20
GREETING = b"220 toc doctor waits for its mail\r\n"


class _Conversation(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.wfile.write(GREETING)
        while command := self.rfile.readline(MAX_LINE):
            verb = command[:4].upper().rstrip()
            if verb == b"QUIT":
                self.wfile.write(b"221 2.0.0 bye\r\n")
                return
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.server.mails.put(b"".join(self._lines()))
            known = verb in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"DATA", b"RSET", b"NOOP")
            self.wfile.write(b"250 2.0.0 ok\r\n" if known else b"502 5.5.1 not known\r\n")

    def _lines(self) -> Iterator[bytes]:
        while (line := self.rfile.readline(MAX_LINE)) not in (b".\r\n", b""):
            yield line.removeprefix(b".")


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        self.mails: queue.Queue[bytes] = queue.Queue()
        super().__init__(address, _Conversation)


@contextmanager
def sink(address: tuple[str, int]) -> Iterator[queue.Queue[bytes]]:
    """The mails that arrive, whole, while it listens. Raises OSError where it cannot."""
    with _Server(address) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.mails
        finally:
            server.shutdown()
            thread.join()

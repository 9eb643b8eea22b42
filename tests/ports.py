"""Ports for servers of tests."""

from __future__ import annotations

import contextlib
import random
import socket

LOWEST = 11_000
HIGHEST = 32_000
"""Below what Linux gives to outgoing connections (ip(7), ip_local_port_range), so that none of those takes a port between
the moment it is chosen and the moment its server listens; and above 10080, which browsers refuse."""


def free_port() -> int:
    """One that is free for UDP and TCP on 127.0.0.1."""
    while True:
        port = random.SystemRandom().randint(LOWEST, HIGHEST)
        datagram, stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket()
        with datagram, stream, contextlib.suppress(OSError):
            datagram.bind(("127.0.0.1", port))
            stream.bind(("127.0.0.1", port))
            return port

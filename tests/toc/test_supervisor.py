"""Addresses at start: one that a killed predecessor still holds is waited for; one that cannot be had is named."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.ports import free_port
from toc.errors import ConfigError
from toc.supervisor import bind


def test_an_address_that_becomes_free_is_taken() -> None:
    address = "127.0.0.1", free_port()
    holder = socket.create_server(address)
    threading.Timer(0.3, holder.close).start()
    with bind(f"{address[0]}:{address[1]}", "public") as listener:
        assert listener.getsockname() == address
        with socket.create_connection(address):
            pass


@pytest.mark.parametrize("address", ["8080", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536", "203.0.113.1:8080"])
def test_an_address_that_cannot_be_had_is_named(address: str) -> None:
    with pytest.raises(ConfigError, match=r"public_listen") as found:
        bind(address, "public")
    assert address in str(found.value)

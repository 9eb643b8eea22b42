"""A DNS server on loopback with the keys of signers: it answers, says that there is none, fails, or keeps silent."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.dkim_keys import Signer


@dataclass
class KeyServer:
    """silent, failing: names that get no answer, or SERVFAIL. `asked` counts questions by name."""

    records: dict[str, bytes] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def add(self, *signers: Signer) -> None:
        self.records |= {signer.name.decode(): signer.record for signer in signers}

    def answer(self, wire: bytes) -> bytes | None:
        query = dns.message.from_wire(wire)
        name = query.question[0].name.to_text().lower()
        self.asked.append(name)
        if name in self.silent:
            return None
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.records:
            text = self.records[name].decode()
            strings = " ".join(f'"{text[start : start + 200]}"' for start in range(0, len(text), 200))
            response.answer.append(dns.rrset.from_text(name, 300, "IN", "TXT", strings))
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response.to_wire()


@contextmanager
def key_server(*signers: Signer) -> Iterator[KeyServer]:
    keys = KeyServer()
    keys.add(*signers)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, socket = self.request
            answer = keys.answer(wire)
            if answer is not None:
                socket.sendto(answer, self.client_address)

    with socketserver.ThreadingUDPServer(("127.0.0.1", 0), Handler) as server:
        keys.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield keys
        finally:
            server.shutdown()
            thread.join()

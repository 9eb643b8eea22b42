"""Real DNS servers on a free loopback port: rbldnsd with a list, BIND with a response policy zone."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import pytest

from tests.conftest import require_program
from tests.ports import free_port
from tests.redirector.databases import AS_NOBODY

DBL = """\
:127.0.1.4:phishing
evil.example
.wild.example
:127.0.1.2:spam
spam.example
:127.0.0.2:listed
old.example
:127.255.255.252:typing error in the name of the list
typo.example
:127.255.255.254:asked through an open resolver
open.example
:127.255.255.255:too many questions
flood.example
:127.0.0.1:refused
refused.example
:93.184.216.34:no code of a list
parked.example
"""
ADDRESSES = "127.0.0.2\n192.0.2.0/24\n"
POLICY = """\
$TTL 60
@ IN SOA localhost. root.localhost. 1 3600 600 86400 60
@ IN NS localhost.
evil.example CNAME .
*.evil.example CNAME .
nodata.example CNAME *.
walled.example A 127.0.0.9
fine.evil.example CNAME rpz-passthru.
"""
ZONE = """\
$TTL 60
@ IN SOA localhost. root.localhost. 1 3600 600 86400 60
@ IN NS localhost.
* IN A 192.0.2.1
"""
CONFIG = """\
options {{
    directory "{folder}"; pid-file none; session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion yes; allow-query {{ any; }}; dnssec-validation no; empty-zones-enable no;
    response-policy {{ zone "rpz.test"; }} qname-wait-recurse no;
}};
controls {{}};
zone "rpz.test" {{ type primary; file "policy"; allow-query {{ any; }}; }};
zone "example" {{ type primary; file "zone"; }};
zone "." {{ type primary; file "zone"; }};
"""


@contextlib.contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        end = time.monotonic() + 20
        while True:
            with contextlib.suppress(dns.exception.Timeout, OSError):
                dns.query.udp(dns.message.make_query("evil.example", "A"), "127.0.0.1", timeout=0.3, port=port)
                break
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(20)


def _open_to_nobody(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.stat().st_uid == 0 and place != Path("/") and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)


@pytest.fixture(scope="session")
def rbldnsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of an rbldnsd that serves ``dbl.test`` (names) and ``ip.test`` (addresses)."""
    program = require_program("rbldnsd")
    folder = tmp_path_factory.mktemp("rbldnsd")
    (folder / "names").write_text("$SOA 60 localhost. root.localhost. 1 3600 600 86400 60\n" + DBL)
    (folder / "addresses").write_text(":127.0.0.2:listed\n" + ADDRESSES)
    prefix: list[str] = []
    if os.geteuid() == 0:
        _open_to_nobody(folder)
        prefix = [*AS_NOBODY]
    port = free_port()
    zones = [f"dbl.test:dnset:{folder}/names", f"ip.test:ip4set:{folder}/addresses"]
    with _running([*prefix, program, "-n", "-f", "-b", f"127.0.0.1/{port}", *zones], port, folder):
        yield port


@pytest.fixture(scope="session")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a BIND that resolves ``example`` itself, under the response policy zone ``rpz.test``."""
    program = require_program("named")
    folder = tmp_path_factory.mktemp("bind")
    port = free_port()
    (folder / "named.conf").write_text(CONFIG.format(folder=folder, port=port))
    (folder / "policy").write_text(POLICY)
    (folder / "zone").write_text(ZONE)
    if os.geteuid() == 0:
        _open_to_nobody(folder)
        shutil.chown(folder, "bind", "bind")
    with _running([program, "-g", "-c", str(folder / "named.conf"), "-u", "bind"], port, folder):
        yield port

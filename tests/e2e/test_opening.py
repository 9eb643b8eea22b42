"""Links as mail clients hand them over, over raw sockets; and links that were revoked.

Invariants: what a client adds around a link, breaks or encodes once changes nothing; anything else gets the one damaged page,
which tells nobody what was wrong; a revocation is effective on every worker within a second of its commit.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.conftest import TOC, Service


def ask(service: Service, target: bytes) -> tuple[int, bytes, bytes]:
    """Status, location and body; the target goes out as it is, which no client library does."""
    address = urlsplit(service.public)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nAccept-Language: en\r\nConnection: close\r\n\r\n"
        )
        answer = b""
        with contextlib.suppress(OSError):
            while data := connection.recv(65536):
                answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    found = [line[10:] for line in head.split(b"\r\n") if line.lower().startswith(b"location: ")]
    return int(head.split()[1]), b"".join(found), body


@pytest.fixture(scope="module")
def parts(service: Service) -> tuple[str, str]:
    """Host and token of a link to ``http://open.example/a``."""
    _, _, host, token = urlsplit(service.link("http://open.example/a")).path.split("/")
    return host, token


def broken(token: str, inserted: str) -> str:
    return token[:40] + inserted + token[40:]


OPENS: list[tuple[str, Callable[[str, str], str]]] = [
    ("as it was made", lambda h, t: f"{h}/{t}"),
    ("a full stop", lambda h, t: f"{h}/{t}."),
    ("a comma and a quotation mark", lambda h, t: f"{h}/{t},%22"),
    ("brackets", lambda h, t: f"{h}/{t})"),
    ("a bracket of <URL>, encoded", lambda h, t: f"{h}/{t}%3E"),
    ("the same in lower case", lambda h, t: f"{h}/{t}%3e"),
    ("the same, raw", lambda h, t: f"{h}/{t}>"),
    ("the reference of one", lambda h, t: f"{h}/{t}&gt;"),
    ("a tracker's query", lambda h, t: f"{h}/{t}?utm_source=mail&fbclid=x"),
    ("a tracker's query, encoded into the path", lambda h, t: f"{h}/{t}%3Futm_source=mail"),
    ("a tracker's parameter without a query", lambda h, t: f"{h}/{t}&utm_source=mail"),
    ("a slash", lambda h, t: f"{h}/{t}/"),
    ("a hyphen", lambda h, t: f"{h}/{t}-"),
    ("a wrapped line", lambda h, t: f"{h}/{broken(t, '%0D%0A')}"),
    ("a wrapped and indented line", lambda h, t: f"{h}/{broken(t, '%0A%20%20')}"),
    ("a soft break of quoted-printable", lambda h, t: f"{h}/{broken(t, '=%0D%0A')}"),
    ("the same at the end", lambda h, t: f"{h}/{t}=%0D%0A"),
    ("a blank", lambda h, t: f"{h}/{broken(t, '%20')}"),
    ("a no-break space", lambda h, t: f"{h}/{broken(t, '%C2%A0')}"),
    ("a zero-width space", lambda h, t: f"{h}/{broken(t, '%E2%80%8B')}"),
    ("a soft hyphen", lambda h, t: f"{h}/{broken(t, '%C2%AD')}"),
    ("Japanese text", lambda h, t: f"{h}/{t}{quote('をご覧ください。')}"),
    ("Chinese text", lambda h, t: f"{h}/{t}{quote('，点击查看')}"),
    ("Korean text", lambda h, t: f"{h}/{t}{quote('에서')}"),
    ("a full-width bracket", lambda h, t: f"{h}/{t}{quote('）')}"),
    ("every character encoded once", lambda h, t: f"{h}/{''.join(f'%{ord(c):02x}' for c in t)}"),
    (
        "host and token encoded once",
        lambda h, t: f"{h.replace('.', '%2E')}/{t.replace('-', '%2D').replace('_', '%5F')}",
    ),
]

DAMAGED: list[tuple[str, Callable[[str, str], str]]] = [
    ("two layers of encoding", lambda h, t: f"{h}/%25{ord(t[0]):02x}{t[1:]}"),
    ("lower case", lambda h, t: f"{h}/{t.lower()}"),
    ("upper case", lambda h, t: f"{h}/{t.upper()}"),
    ("the host in upper case", lambda h, t: f"{h.upper()}/{t}"),
    ("a missing character at the end", lambda h, t: f"{h}/{t[:-1]}"),
    ("a missing character in the middle", lambda h, t: f"{h}/{t[:40]}{t[41:]}"),
    ("a missing version", lambda h, t: f"{h}/{t[1:]}"),
    ("half of it", lambda h, t: f"{h}/{t[: len(t) // 2]}"),
    ("an extra letter at the end", lambda h, t: f"{h}/{t}a"),
    ("an extra digit at the end", lambda h, t: f"{h}/{t}1"),
    ("an extra letter in the middle", lambda h, t: f"{h}/{broken(t, 'A')}"),
    ("an ellipsis in the middle", lambda h, t: f"{h}/{broken(t, '...')}"),
    (
        "two characters swapped",
        lambda h, t: f"{h}/{t[:20]}{t[21]}{t[20]}{t[22:]}" if t[20] != t[21] else f"{h}/{t[:20]}",
    ),
    ("another host", lambda h, t: f"www.{h}/{t}"),
    ("no host", lambda h, t: f"/{t}"),
    ("a letter that looks alike", lambda h, t: f"{h}/{quote('а')}{t[1:]}"),
    ("plus for hyphen", lambda h, t: f"{h}/{t[:30]}+{t[31:]}"),
    ("another version", lambda h, t: f"{h}/3{t[1:]}"),
    ("the stored version", lambda h, t: f"{h}/2{t[1:]}"),
    ("a key that nobody has", lambda h, t: f"{h}/1AAAAAA{t[7:]}"),
]


@pytest.mark.parametrize(("why", "make"), OPENS, ids=[why for why, _ in OPENS])
def test_it_opens(service: Service, parts: tuple[str, str], why: str, make: Callable[[str, str], str]) -> None:
    for room in ("u", "p"):
        status, location, body = ask(service, f"/{room}/{make(*parts)}".encode())
        if room == "u":
            assert (status, location) == (302, b"http://open.example/a"), why
        else:
            assert status == 200, why
            assert b"open.example" in body, why


@pytest.mark.parametrize(("why", "make"), DAMAGED, ids=[why for why, _ in DAMAGED])
def test_it_is_damaged(service: Service, parts: tuple[str, str], why: str, make: Callable[[str, str], str]) -> None:
    status, location, body = ask(service, f"/u/{make(*parts)}".encode())
    assert (status, location) == (404, b""), why
    assert b"open.example/a" not in body, why


def test_every_damage_gets_the_same_page(service: Service, parts: tuple[str, str]) -> None:
    """But for the path to the stylesheet: whoever tries out tokens learns nothing from it."""
    pages = {ask(service, f"/u/{make(*parts)}".encode())[2].replace(b"../", b"") for _, make in DAMAGED}
    assert len(pages) == 1


def statuses(service: Service, link: str, count: int = 12) -> set[int]:
    """Of clicks on connections of their own, at once, so that each worker gets some."""
    with ThreadPoolExecutor(count) as pool:
        return {found.status_code for found in pool.map(lambda _: service.click(link), range(count))}


def until_all(service: Service, link: str, status: int, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while (found := statuses(service, link)) != {status}:
        assert time.monotonic() < end, found


def revoke(service: Service, kind: str, value: str) -> None:
    assert service.call("POST", "/v1/revocations", json={"kind": kind, "value": value}).status_code == 201


def mail_of(service: Service, name: str, recipient: str) -> tuple[str, str]:
    """Two links of one message to one recipient."""
    raw = f"Message-ID: <{time.time_ns()}@x>\r\n\r\nhttp://{name}.example/1 http://{name}.example/2\r\n".encode()
    rows = service.rewrite(raw, recipient, Accept="application/json").json()["receipt"]
    return rows[0]["link"], rows[1]["link"]


def test_a_revoked_link_alone_is_closed(service: Service) -> None:
    first, second = mail_of(service, "single", "one@example.com")
    revoke(service, "link", first)
    until_all(service, first, 410)
    assert statuses(service, second) == {302}
    assert service.click(first.replace("/u/", "/p/")).status_code == 410


def test_all_links_of_a_revoked_message_are_closed(service: Service) -> None:
    first, second = mail_of(service, "message", "two@example.com")
    other, _ = mail_of(service, "message", "two@example.com")
    revoke(service, "message", first)
    until_all(service, first, 410)
    until_all(service, second, 410)
    assert statuses(service, other) == {302}


def test_all_links_of_a_revoked_recipient_are_closed(service: Service) -> None:
    gone, _ = mail_of(service, "recipient", "leaver@example.com")
    stays, _ = mail_of(service, "recipient", "stayer@example.com")
    revoke(service, "recipient", "Leaver@EXAMPLE.com")
    until_all(service, gone, 410)
    assert statuses(service, stays) == {302}
    assert {row["reasons"][0] for row in service.clicks(host="recipient.example") if row["action"] == "block"} == {
        "revoked"
    }


def test_links_of_a_disabled_key_are_closed(service: Service) -> None:
    """Runs last: the key that sealed all links above is gone for them."""
    link = service.link("http://key.example/")
    assert statuses(service, link) == {302}
    config = ["--config", str(service.settings)]

    def keys(*arguments: str) -> str:
        return subprocess.run([*TOC, "keys", *arguments, *config], check=True, capture_output=True, text=True).stdout

    old = next(line.split()[0] for line in keys("list").splitlines() if "primary" in line)
    new = keys("add").split()[0]
    keys("promote", new, "--now")
    keys("disable", old)
    until_all(service, link, 404)
    end = time.monotonic() + 10
    while statuses(service, service.link("http://key.example/again")) != {302}:
        assert time.monotonic() < end

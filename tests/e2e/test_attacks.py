"""Attacks on the public listener, over raw sockets: refused, or without the effect that they were made for.

Invariants: a location is always the sealed target and nothing else; no byte of a request becomes a header of an answer; what
a client says of itself is not believed; one request gets one answer; whoever is slow or large is cut off, and hinders nobody.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.e2e.conftest import READER, Service

KNOWN_HEADERS = {
    b"allow",
    b"cache-control",
    b"connection",
    b"content-language",
    b"content-length",
    b"content-security-policy",
    b"content-type",
    b"date",
    b"location",
    b"referrer-policy",
    b"retry-after",
    b"vary",
    b"x-content-type-options",
    b"x-robots-tag",
}


def talk(service: Service, *pieces: bytes, seconds: float = 5.0) -> bytes:
    """Send the pieces and read until the server closes, or says nothing for a while."""
    address = urlsplit(service.public)
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        found = b""
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            while data := connection.recv(65536):
                found += data
                connection.settimeout(1.0)
        return found


def get(service: Service, target: str | bytes, *lines: bytes) -> bytes:
    raw = target.encode() if isinstance(target, str) else target
    head = [b"GET " + raw + b" HTTP/1.1", b"Host: x", b"Connection: close", *lines]
    return talk(service, b"\r\n".join(head) + b"\r\n\r\n")


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def headers(answer: bytes) -> list[tuple[bytes, bytes]]:
    head = answer.partition(b"\r\n\r\n")[0]
    assert b"\n" not in head.replace(b"\r\n", b"")
    found = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    return [(name.lower(), value) for name, value in found]


def location(answer: bytes) -> bytes | None:
    found = [value for name, value in headers(answer) if name == b"location"]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.fixture(scope="module")
def link(service: Service) -> str:
    """Path of a link of ours that forwards."""
    return urlsplit(service.link("http://good.example/a")).path


TARGET = b"http://good.example/a"
EVIL = "evil.example"


@pytest.mark.parametrize(
    ("made", "lines", "why"),
    [
        ("{link}?url=https://evil.example/", (), "a query says nothing"),
        ("{link}?lang=en&next=//evil.example", (), "nor beside one of ours"),
        ("{link}//evil.example", (), "glued behind the token"),
        ("{link}/../../evil.example", (), "nor does a path"),
        ("{link}@evil.example/", (), "userinfo trick"),
        ("{link}%0d%0aLocation:%20https://evil.example", (), "a second header"),
        ("{link}", (b"Host: evil.example",), "Host is not looked at"),
        ("{link}", (b"X-Forwarded-Host: evil.example", b"X-Forwarded-Proto: https"), "nor its relatives"),
        (
            "{link}",
            (b"X-Original-URL: //evil.example/", b"X-Rewrite-URL: //evil.example/"),
            "nor other frameworks' ways",
        ),
        ("{link}", (b"Referer: https://evil.example/",), "nor where it came from"),
        ("http://evil.example{link}", (), "absolute form, as to a proxy"),
        ("/u/evil.example/{token}", (), "the host for the eye is bound to the token"),
        ("/u/-/{token}", (), "also the one without a host"),
        ("//evil.example/", (), "a URL that begins with an authority"),
        ("/\\evil.example/", (), "and its twin for browsers"),
        ("/%2f%2fevil.example/", (), "encoded"),
        ("/u//evil.example", (), "no token"),
        ("https://evil.example/", (), "a proxy we are not"),
        ("/p/{rest}?do=proceed", (), "a preview never forwards"),
    ],
)
def test_no_open_redirect(service: Service, link: str, made: str, lines: tuple[bytes, ...], why: str) -> None:
    path = made.format(link=link, token=link.rpartition("/")[2], rest=link[3:])
    answer = get(service, path, *lines)
    assert status(answer) in (200, 302, 400, 404), why
    assert location(answer) in (None, TARGET), why
    assert (status(answer) == 302) is (location(answer) is not None), why


@pytest.mark.parametrize("host", ["evil.example", "-", "good.example.evil.example", "GOOD.example", "good.example."])
def test_a_token_under_another_host_does_not_open(service: Service, link: str, host: str) -> None:
    assert status(get(service, f"/u/{host}/{link.rpartition('/')[2]}")) == 404


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        ("http://inj.example/%0d%0aSet-Cookie:%20a=1", ()),
        ("http://inj.example/?q=%0aX-Evil:%201", ()),
        ("http://inj.example/\u2028x\u560d\u560aSet-Cookie:a=1", ()),
        ("http://inj.example/#%0d%0aX:1", ()),
    ],
)
def test_no_header_is_injected_by_a_target(service: Service, target: str, lines: tuple[bytes, ...]) -> None:
    made = service.call("POST", "/v1/rewrite", json={"content_type": "text/html", "body": f'<a href="{target}">x</a>'})
    answer = get(service, urlsplit(made.json()["receipt"][0]["link"]).path, *lines)
    assert status(answer) == 302
    assert {name for name, _ in headers(answer)} <= KNOWN_HEADERS
    assert all(0x21 <= byte <= 0x7E for byte in location(answer) or b"")


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("{link}?lang=%0d%0aX-Evil:1", ()),
        ("/nothing%0d%0aX-Evil:1", ()),
        ("/p{rest}?lang=de%0d%0aX-Evil:1", ()),
        ("/nothing", (b"Accept-Language: de%0d%0aX-Evil: 1",)),
        ("/nothing", (b"Accept-Language: \xff\xfe;q=0.9, <b>",)),
        ("/nothing", (b"Origin: https://evil.example", b"Access-Control-Request-Method: POST")),
    ],
)
def test_no_header_is_injected_by_a_request(service: Service, link: str, path: str, lines: tuple[bytes, ...]) -> None:
    answer = get(service, path.format(link=link, rest=link[2:]), *lines)
    assert {name for name, _ in headers(answer)} <= KNOWN_HEADERS
    assert b"x-evil" not in answer.partition(b"\r\n\r\n")[0].lower()


PATHS = [
    "//u/{rest}",
    "/./u/{rest}",
    "/x/../u/{rest}",
    "/u/./{rest}",
    "/u/../u/{rest}",
    "/u%2f{rest}",
    "/%75/{rest}",
    "/U/{rest}",
    "/u\\{rest}",
    "/u/{host}%2f{token}",
    "/u/{host}//{token}",
    "/u/{host}\\{token}",
    "/u/{host}/../{token}",
    "/u/{host}%00/{token}",
    "/u/{host}/%00",
    "/u/{host}/{token}".upper().replace("{HOST}", "{host}").replace("{TOKEN}", "{token}"),
    "/static/../u/{rest}",
    "/static/..%2f..%2fetc/passwd",
    "/static/%2e%2e/page.css",
    "/static//page.css",
    "/../../etc/passwd",
    "/..\\..\\etc\\passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/.well-known/../toc.toml",
    "/keyset.json",
    "/v1/clicks",
    "/metrics",
    "/console",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_other_spelling_of_a_path_leads_anywhere(service: Service, link: str, path: str) -> None:
    _, _, host, token = link.split("/")
    answer = get(service, path.format(rest=link[3:], host=host, token=token))
    assert status(answer) in (400, 404)
    assert location(answer) is None
    assert b"root:" not in answer
    assert b"primary" not in answer


@pytest.mark.parametrize(
    "path", [b"/u/\xff\xfe/x", b"/u/h\x00/x", b"/\x01", b"/u/h/" + b"%" * 50, b"/u/h/%zz%", b"*", b""]
)
def test_bytes_that_are_no_path_get_an_answer_and_no_error(service: Service, path: bytes) -> None:
    assert status(get(service, path)) in (400, 404)


@pytest.mark.parametrize(
    "line",
    [
        b"X-Forwarded-For: 8.8.8.8",
        b"X-Forwarded-For: 8.8.8.8, 127.0.0.1",
        b"Forwarded: for=8.8.8.8",
        b"X-Real-IP: 8.8.8.8",
        b"True-Client-IP: 8.8.8.8",
        b"CF-Connecting-IP: 8.8.8.8",
        b"X-Client-IP: 8.8.8.8",
        b"Via: 1.1 8.8.8.8",
    ],
)
def test_nobody_says_who_he_is(service: Service, line: bytes) -> None:
    host = f"claim{abs(hash(line))}.example"
    path = urlsplit(service.link(f"http://{host}/")).path
    assert status(get(service, path, line)) == 302
    assert [row["client"] for row in service.clicks(host=host)] == ["127.0.0.1"]


ONE = b"GET /u/x HTTP/1.1\r\nHost: x\r\n\r\n"
SECOND = b"GET /robots.txt HTTP/1.1\r\nHost: smuggled\r\nConnection: close\r\n\r\n"


def post(link: str, *lines: bytes) -> bytes:
    return b"\r\n".join([b"POST " + link.encode() + b" HTTP/1.1", b"Host: x", *lines]) + b"\r\n\r\n"


def smugglings() -> dict[str, tuple[tuple[bytes, ...], bytes]]:
    """Header lines and body of a POST; behind it, to be taken for a request of its own, comes `SECOND`."""
    chunked = b"Transfer-Encoding: chunked"
    length = b"Content-Length: %d" % len(SECOND)
    ended = b"0\r\n\r\n"
    return {
        "CL.TE": ((length, chunked), ended),
        "TE.CL": ((chunked, b"Content-Length: 4"), ended),
        "two lengths": ((b"Content-Length: 0", length), b""),
        "two lengths in one": ((b"Content-Length: 0, %d" % len(SECOND),), b""),
        "a length with a sign": ((b"Content-Length: +0",), b""),
        "a negative length": ((b"Content-Length: -1",), b""),
        "a length in hexadecimal": ((b"Content-Length: 0x0",), b""),
        "a length beyond all numbers": ((b"Content-Length: 18446744073709551616",), b""),
        "a length folded": ((b"Content-Length:\r\n 0",), b""),
        "obs-fold": ((b"X: a\r\n Content-Length: 9", b"Transfer-Encoding:\r\n chunked"), ended),
        "a coding unknown": ((b"Transfer-Encoding: xchunked",), ended),
        "chunked not last": ((b"Transfer-Encoding: chunked, identity",), ended),
        "two codings": ((chunked, b"Transfer-Encoding: identity"), ended),
        "a blank before the colon": ((b"Transfer-Encoding : chunked",), ended),
        "a blank before the name": ((b" Transfer-Encoding: chunked",), ended),
        "a control in the name": ((b"Transfer-Encoding\x0b: chunked",), ended),
        "a control in the value": ((b"Transfer-Encoding: \x0bchunked",), ended),
        "a bare CR": ((b"X: a\rTransfer-Encoding: chunked",), ended),
        "a bare LF": ((b"X: a\nTransfer-Encoding: chunked\nContent-Length: 4",), ended),
        "a NUL": ((b"X: a\0b", length, chunked), ended),
        "a chunk with a sign": ((chunked,), b"+0\r\n\r\n"),
        "a chunk in hexadecimal": ((chunked,), b"0x0\r\n\r\n"),
        "a chunk beyond all numbers": ((chunked,), b"10000000000000000\r\n" + ended),
        "a chunk that ends with LF": ((chunked,), b"1\nZ\n0\n\n"),
        "a chunk longer than its size": ((chunked,), b"1\r\nZZ\r\n" + ended),
    }


@pytest.mark.parametrize("kind", smugglings())
def test_nothing_is_smuggled(service: Service, link: str, kind: str) -> None:
    """An answer to `SECOND` would show that its bytes were taken for another request than a proxy took them for."""
    lines, body = smugglings()[kind]
    answer = talk(service, post(link, *lines) + body + SECOND)
    assert b"Disallow" not in answer, answer
    assert answer.count(b"HTTP/1.1 ") <= 1, answer
    assert status(answer) in (0, 400, 403), answer


def test_the_test_of_smuggling_can_fail(service: Service, link: str) -> None:
    """Two honest requests in one piece are two."""
    answer = talk(service, post(link, b"Content-Length: 3") + b"a=1" + SECOND)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"Disallow" in answer


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 70_000 + b"\r\n\r\n", {431}),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {431}),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000 + b"\r\n", {431}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a" * 32_000 + b"\r\nConnection: close\r\n\r\n", {200}),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {0, 400}),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), {0, 400}),
        (b"GET / HTTP/0.9\r\nConnection: close\r\n\r\n", {0, 200, 400}),
        (b"GET / HTTP/9.9\r\n\r\n", {0, 400}),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 404, 405}),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\nX: secret\r\nConnection: close\r\n\r\n", {400, 405}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {200, 400}),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 200-ok\r\nConnection: close\r\n\r\n", {200, 417}),
        (b"\r\n" * 1000 + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", {200, 400}),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
def test_odd_and_huge_requests(service: Service, raw: bytes, expected: set[int]) -> None:
    answer = talk(service, raw)
    assert status(answer) in expected
    assert b"secret" not in answer


def test_a_huge_form_is_not_read_on(service: Service, link: str) -> None:
    size = 50 << 20
    head = post(link, b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: %d" % size)
    answer = talk(service, head, *[b"a" * (1 << 20)] * 4)
    assert status(answer) in (0, 403)


def drip(service: Service, raw: bytes, found: dict[bytes, bytes]) -> None:
    """A byte now and then, for as long as the server lets us."""
    address = urlsplit(service.public)
    with (
        socket.create_connection((address.hostname, address.port), timeout=30) as connection,
        contextlib.suppress(OSError),
    ):
        connection.settimeout(0.5)
        end = time.monotonic() + 25
        place = 0
        while time.monotonic() < end:
            connection.sendall(raw[place : place + 1] or b"a")
            place += 1
            try:
                data = connection.recv(65536)
            except TimeoutError:
                continue
            found[raw] = found.get(raw, b"") + data
            if not data:
                return
    found[raw] = found.get(raw, b"") + b"(never closed)" if time.monotonic() >= end else found.get(raw, b"")


def test_slow_clients_are_cut_off_and_hinder_nobody(service: Service, link: str) -> None:
    """Slowloris (a head that never ends), a body that never ends, and a hundred connections that say nothing."""
    form = b"Content-Type: application/x-www-form-urlencoded"
    slow = [b"GET /slow HTTP/1.1\r\nX-", b"G", b"\r\n", b"POST / HTTP/1.1\r\nX: a\r\nContent-Le"]
    found: dict[bytes, bytes] = {}
    threads = [threading.Thread(target=drip, args=(service, raw, found)) for raw in slow]
    for thread in threads:
        thread.start()
    address = urlsplit(service.public)
    silent = [socket.create_connection((address.hostname, address.port)) for _ in range(100)]
    half = [socket.create_connection((address.hostname, address.port), timeout=25) for _ in range(10)]
    for connection in half:
        connection.sendall(post(link, form, b"Content-Length: 50") + b"do=")
    for _ in range(10):
        assert status(get(service, link)) == 302
    for connection in half:
        answer = connection.recv(65536)
        assert status(answer) == 403
        connection.close()
    for thread in threads:
        thread.join(30)
    for connection in silent:
        connection.close()
    for raw in slow:
        assert status(found[raw]) in (0, 400, 408), raw
        assert b"never closed" not in found[raw], raw


@pytest.mark.parametrize("path", ["", "?lang=ja", "%3E", "&utm_source=x", "/", "x", "xx%20y", "?a=b#c"])
@pytest.mark.parametrize("action", ["allow", "warn", "block"])
def test_both_roads_of_a_click_say_the_same(service: Service, roads: dict[str, str], action: str, path: str) -> None:
    """A request in one piece goes the short way, one in two pieces the ordinary one (`redirector.protocol`)."""
    link = roads[action]
    answers = [head_and_body(ask_in(service, link + path, pieces)) for pieces in (1, 2)]
    assert answers[0] == answers[1]
    rows = service.clicks(host=f"{action}.roads.example")[:2]
    if int(answers[0][0].split()[1]) in (200, 302, 403):
        for name in ("event", "action", "level", "reasons", "matches", "actor", "actor_reason", "user_agent", "client"):
            assert rows[0][name] == rows[1][name], name


@pytest.fixture(scope="module")
def roads(service: Service) -> dict[str, str]:
    for action in ("warn", "block"):
        value = f"{action}.roads.example"
        service.call("POST", "/v1/objects", json={"type": "domain", "value": value, "action": action})
    links = {action: service.link(f"http://{action}.roads.example/") for action in ("allow", "warn", "block")}
    for action, status_ in (("allow", 302), ("warn", 200), ("block", 403)):
        service.page(links[action], status_)
    return links


def ask_in(service: Service, link: str, pieces: int) -> bytes:
    address = urlsplit(service.public)
    lines = "".join(f"{name}: {value}\r\n" for name, value in READER.items())
    raw = f"GET {link.removeprefix(service.public)} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(raw), -(-len(raw) // pieces)):
            connection.sendall(raw[start : start + -(-len(raw) // pieces)])
            time.sleep(0.05)
        head, _, body = connection.recv(1 << 20).partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(body) < length:
            body += connection.recv(1 << 20)
    return head + b"\r\n\r\n" + body


def head_and_body(answer: bytes) -> tuple[bytes, bytes]:
    """Without what differs between any two clicks: date, reference, nonce."""
    head, _, body = answer.partition(b"\r\n\r\n")
    head = re.sub(rb"date: [^\r]*\r\n|content-length: \d+", b"", head)
    return head, re.sub(rb'[0-9a-f]{32}|name="nonce" value="[^"]+"', b"", body)


@pytest.fixture(scope="module")
def doubtful(service: Service) -> tuple[str, str]:
    """A link that is warned of, and the nonce of its page."""
    service.call("POST", "/v1/objects", json={"type": "domain", "value": "nonce.example", "action": "warn"})
    made = service.link("http://nonce.example/")
    return made, service.nonce(made)


def press(made: str, nonce: str, **more: str) -> httpx.Response:
    return httpx.post(made, data={"do": "proceed", "nonce": nonce}, headers={**READER, **more})


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
def test_another_site_presses_no_button(doubtful: tuple[str, str], site: str) -> None:
    answer = press(*doubtful, **{"Sec-Fetch-Site": site})
    assert answer.status_code == 403
    assert "location" not in answer.headers


def test_a_nonce_of_another_link_or_spelling_is_refused(service: Service, doubtful: tuple[str, str]) -> None:
    made, nonce = doubtful
    other = service.nonce(service.link("http://nonce.example/other"))
    for wrong in (other, "", "A" * len(nonce), nonce[:-1], nonce + "A", nonce.swapcase(), nonce + "=", " " + nonce):
        assert press(made, wrong).status_code == 403, wrong
    twice = httpx.post(made, content=f"do=proceed&nonce={nonce}&nonce={nonce}", headers=READER)
    assert twice.status_code == 403
    assert press(made, nonce).status_code == 303


def test_a_nonce_is_worth_nothing_when_the_verdict_got_worse(service: Service, doubtful: tuple[str, str]) -> None:
    made, nonce = doubtful
    block = {"type": "url", "value": "http://nonce.example/", "action": "block"}
    added = service.call("POST", "/v1/objects", json=block).json()["id"]
    service.page(made, 403)
    answer = press(made, nonce)
    service.call("DELETE", f"/v1/objects/{added}")
    assert answer.status_code == 403
    assert "location" not in answer.headers

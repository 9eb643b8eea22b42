"""``toc doctor --mail``: a test mail goes in at the gateway and comes out at a sink; its link is followed to the click log.

The gateway must route `[gateway] test_recipient` to `test_sink` (docs/gateways.md). The target of the link is never contacted.
"""

from __future__ import annotations

import queue
import re
import secrets
import smtplib
import time
from collections.abc import Iterator
from email.utils import formatdate

import httpx

from redirector import click_search
from toc.commands.findings import Finding
from toc.commands.mail_sink import sink
from toc.commands.options import in_database
from toc.errors import ConfigError
from toc.keys import load
from toc.rewriting import Rewriting
from toc.startup import Startup

ARRIVES_SECONDS = 60.0
RECORDED_SECONDS = 10.0
TARGET = "https://doctor.example.org/"
"""RFC 2606: nobody is there."""

_LINK = re.compile(rb"https?://[^\s<>\"]+")


def mail_road(loaded: Startup) -> list[Finding]:
    """Each step of the road, up to the first that fails."""
    return list(_steps(loaded))


def _steps(loaded: Startup) -> Iterator[Finding]:
    chosen = loaded.config.gateway
    if not chosen.test_recipient:
        advice = "name an address in [gateway] test_recipient and route it to test_sink (docs/gateways.md)"
        yield Finding("test mail", None, "no address to send it to", advice)
        return
    token = secrets.token_hex(12)
    raw = _mail(chosen.test_recipient, token)
    try:
        with sink(_address(chosen.test_sink, "test_sink")) as mails:
            _send(_address(chosen.smtp, "smtp"), chosen.test_recipient, raw)
            yield Finding("gateway", True, f"{chosen.smtp} took a mail to {chosen.test_recipient}")
            arrived = _wait(mails, token)
    except (OSError, smtplib.SMTPException) as error:
        advice = "is the mail server up, and does it ask `toc milter` at an address where that listens?"
        yield Finding("gateway", False, f"{chosen.smtp}: {error}", advice)
        return
    if arrived is None:
        advice = f"route {chosen.test_recipient} to {chosen.test_sink}; look into the mail server's queue and log"
        yield Finding("test mail", False, f"did not arrive within {ARRIVES_SECONDS:.0f} s", advice)
        return
    yield Finding("test mail", True, "arrived")
    yield from _followed(loaded, raw, arrived, token)


def _followed(loaded: Startup, raw: bytes, arrived: bytes, token: str) -> Iterator[Finding]:
    body = arrived.partition(b"\r\n\r\n")[2]
    found = _LINK.search(body)
    link = found.group().decode("ascii", "replace") if found else ""
    base = load(loaded.config.keyset_path).public_urls[0].href.rstrip("/")
    if not link.startswith(f"{base}/u/"):
        advice = "the mail passed beside us: is our filter in the road, is the sender's host exempt?"
        yield Finding("link", False, "was not rewritten", advice)
        return
    yield Finding("link", True, f"rewritten for {base}")
    restored = Rewriting(loaded).restore_message(arrived).outcome.body
    same = restored.partition(b"\r\n\r\n")[2] == raw.partition(b"\r\n\r\n")[2]
    advice = "" if same else "another filter changes the mail behind us; let it stand before"
    yield Finding("restore", same, "gives the mail back" if same else "gives another body", advice)
    yield from _clicked(loaded, link, token)


def _clicked(loaded: Startup, link: str, token: str) -> Iterator[Finding]:
    try:
        answer = httpx.get(link, timeout=10.0, headers={"User-Agent": "toc-doctor"})
    except httpx.HTTPError as error:
        yield Finding(
            "click", False, f"{type(error).__name__}", "start `toc serve`; check DNS, TLS and the proxy in front"
        )
        return
    fine = answer.status_code in (200, 302, 403)
    yield Finding("click", fine, f"answered {answer.status_code}", "" if fine else "see the log of `toc serve`")
    end = time.monotonic() + RECORDED_SECONDS
    while True:
        clicks, _ = in_database(
            loaded.config, lambda connection: click_search.search(connection, {"url": f"{TARGET}{token}"}, limit=1)
        )
        if clicks or time.monotonic() > end:
            break
        time.sleep(0.2)
    says = f"{clicks[0]['event']}, id {clicks[0]['id']}" if clicks else "the click is not on record"
    yield Finding("click log", bool(clicks), says, "" if clicks else "see `toc_spool_…` in /metrics and the log")


def _mail(recipient: str, token: str) -> bytes:
    lines = (
        "From: toc doctor <doctor@example.org>",
        f"To: {recipient}",
        "Subject: test mail of toc doctor",
        f"Date: {formatdate()}",
        f"Message-ID: <{token}@doctor.example.org>",
        "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=utf-8",
        "",
        f"This mail tests the gateway. Its link: {TARGET}{token}",
        "",
    )
    return "\r\n".join(lines).encode()


def _send(address: tuple[str, int], recipient: str, raw: bytes) -> None:
    """Raises OSError, SMTPException: what the gateway said."""
    with smtplib.SMTP(*address, timeout=30) as client:
        client.sendmail("doctor@example.org", [recipient], raw)


def _wait(mails: queue.Queue[bytes], token: str) -> bytes | None:
    """Ours among those that arrive: an older one may come late."""
    end = time.monotonic() + ARRIVES_SECONDS
    while (left := end - time.monotonic()) > 0:
        try:
            mail = mails.get(timeout=left)
        except queue.Empty:
            return None
        if token.encode() in mail.partition(b"\r\n\r\n")[0]:
            return mail
    return None


def _address(text: str, name: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"[gateway] {name}: {text!r} must be HOST:PORT")
    return host.strip("[]"), int(port)

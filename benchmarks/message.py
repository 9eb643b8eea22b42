"""A whole message rewritten and made restorable, beside the standard library taking it apart and putting it together.

    message ─▶ rewrite_message with real keys and a Toc-Restore field │ email: message_from_bytes, as_bytes

Two messages: 100 KB of text and HTML in quoted-printable, and 10 MB of which nearly all is an attachment in base64.
"""

from __future__ import annotations

import base64
import email
import quopri
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rewriter.message import rewrite_message
from rewriter.options import Options
from toc.config import LinkSettings
from toc.keys import Keyset, create
from toc.link import Protect
from toc.memory import keep_freed
from toc.policy import Mail, Policy
from toc.protect import Message, Tools, build
from toc.token import seal_blob

ROUNDS = 7
PROSE = "the report for last week is ready please read it before our meeting and tell me what you think about costs"
WORDS = PROSE.split()
LINKS = 16
"""In each of the two bodies of the small message: 2,156 real mails have one link in 3,116 bytes."""


def _prose(rng: random.Random, size: int) -> list[str]:
    lines: list[str] = []
    while sum(map(len, lines[-1:])) + len(lines) * 70 < size:
        lines.append(" ".join(rng.choices(WORDS, k=13)))
    return lines


def small(size: int = 100_000) -> bytes:
    """multipart/alternative of about `size` bytes."""
    rng = random.Random(3)
    lines = _prose(rng, size // 2 - LINKS * 60)
    every = max(1, len(lines) // LINKS)
    text = [f"{line} https://news.example.org/a/{n}?id={n}" if n % every == 0 else line for n, line in enumerate(lines)]
    html = [
        f'<p style="margin:0">{line} <a href="https://news.example.org/a/{n}?id={n}&amp;s=1">more</a></p>'
        if n % every == 0
        else f"<p>{line}</p>"
        for n, line in enumerate(lines)
    ]
    parts = [
        _part("text/plain; charset=utf-8", "\r\n".join(text)),
        _part("text/html; charset=utf-8", "<html><body>" + "\r\n".join(html) + "</body></html>"),
    ]
    return _multipart("alternative", parts)


def large(size: int = 10_000_000) -> bytes:
    """A body of 20 KB and an attachment, about `size` bytes together."""
    rng = random.Random(5)
    content = base64.encodebytes(rng.randbytes(max(size * 3 // 4 - 20_000, 100))).replace(b"\n", b"\r\n")
    head = b"Content-Type: application/pdf; name=r.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    body = _part(
        "text/html; charset=utf-8", '<p><a href="https://example.org/">x</a></p>' + "\r\n".join(_prose(rng, 20_000))
    )
    return _multipart("mixed", [body, head + content])


def _part(kind: str, text: str) -> bytes:
    body = quopri.encodestring(text.encode()).replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".encode() + body


def _multipart(kind: str, parts: list[bytes]) -> bytes:
    head = (
        "From: a@example.org\r\nTo: b@example.net\r\nSubject: report\r\nMIME-Version: 1.0\r\n"
        f'Content-Type: multipart/{kind}; boundary="=_b"\r\n\r\n'
    ).encode()
    return head + b"".join(b"--=_b\r\n" + part + b"\r\n" for part in parts) + b"--=_b--\r\n"


def _sealing() -> tuple[Protect, Keyset]:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    keyset = create("bench", "default", ("https://links.example.org",), random=random.Random(1).randbytes, now=now)
    return build(Message(Mail()), Tools(keyset, Policy(), LinkSettings(), now)), keyset


def _stdlib(raw: bytes) -> object:
    return email.message_from_bytes(raw).as_bytes()


def peak_memory() -> float:
    """Peak memory of a fresh process that rewrites the large message, less that for a small one, in messages."""
    small_peak, large_peak = (_peak(size) for size in (20_000, 10_000_000))
    return (large_peak - small_peak) / 10_000_000


def _peak(size: int) -> int:
    """Bytes. A small process stands between: a new one has its parent's peak to begin with."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(large(size))
        file.flush()
        code = f"from benchmarks.message import rewrite_file; rewrite_file({file.name!r})"
        done = subprocess.run([sys.executable, "-c", _AWAY, sys.executable, code], capture_output=True, check=True)
    return int(done.stdout)


_AWAY = "import subprocess, sys; subprocess.run(sys.argv[1:2] + ['-c'] + sys.argv[2:], check=True)"


def rewrite_file(name: str) -> None:
    """Rewrite the message in a file and print this process's peak."""
    keep_freed()
    protect, keyset = _sealing()
    rewrite_message(Path(name).read_bytes(), protect, Options(), lambda data: seal_blob(data, "restore", keyset))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def run(full: bool) -> dict[str, object]:
    """Ours and the peer's median MB/s for the small message and the large one, interleaved."""
    keep_freed()  # as each rewriting process of the service does
    protect, keyset = _sealing()

    def ours(raw: bytes) -> object:
        return rewrite_message(raw, protect, Options(), lambda data: seal_blob(data, "restore", keyset))

    runners: dict[str, Callable[[bytes], object]] = {"ours": ours, "stdlib email": _stdlib}
    ratio: dict[str, float] = {}
    figures: dict[str, dict[str, float]] = {}
    for name, raw in {"100 KB": small(), "10 MB": large()}.items():
        rates: dict[str, list[float]] = {runner: [] for runner in runners}
        for _ in range(ROUNDS * 3 if full else ROUNDS):
            for runner, work in runners.items():
                start = time.perf_counter()
                work(raw)
                rates[runner].append(len(raw) / (time.perf_counter() - start) / 1e6)
        figures[name] = {runner: statistics.median(values) for runner, values in rates.items()}
        ratio[f"stdlib email, {name}"] = round(figures[name]["ours"] / figures[name]["stdlib email"], 2)
        for runner, values in rates.items():
            print(
                f"{name} {runner:14} {figures[name][runner]:8.1f} MB/s  (min {min(values):.1f}, max {max(values):.1f})"
            )
    print(f"peak memory {peak_memory():.2f} times the message of 10 MB, itself included")
    return {
        "name": "message",
        "ours": round(figures["100 KB"]["ours"], 2),
        "peers": {"stdlib email": round(figures["100 KB"]["stdlib email"], 2)},
        "unit": "MB/s",
        "ratio": {"stdlib email": ratio["stdlib email, 100 KB"], **ratio},
    }

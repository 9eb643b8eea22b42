"""deploy/curl's shell filter against a running service: what `toc rewrite` makes, whole or not at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, require_program
from tests.e2e.conftest import Service, start, stop
from tests.e2e.gateways import MAILS, OURS, PLAIN, Access, access, sample
from tests.ports import free_port

FILTER = ROOT / "deploy" / "curl" / "toc-rewrite"
EX_TEMPFAIL = 75
PARTS = b"".join(b"--b\r\n\r\nhttps://one.example.org/a\r\n" for _ in range(9)) + b"--b--\r\n"
MANY = b'From: a@example.org\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n' + PARTS
HUGE = PLAIN + b"filler " * 10 + b"\r\n" * 1_000_000


def run(service: Access, folder: Path, content: bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    require_program("curl")
    key = folder / "key"
    key.write_text(service.key + "\n")
    environment = {"PATH": "/usr/bin:/bin", "TOC_API": service.admin, "TOC_KEY_FILE": str(key)}
    return subprocess.run([FILTER, *arguments], input=content, env=environment, capture_output=True, check=False)


def expected(standing: Service, content: bytes, recipient: str) -> bytes:
    answer = standing.rewrite(content, recipient)
    return answer.content if answer.status_code == 200 else content


def test_the_corpus_as_toc_rewrite_makes_it(standing: Service, tmp_path: Path, corpus: Path) -> None:
    changed = 0
    for mail in sample(corpus, MAILS):
        (recipient,) = mail.recipients
        done = run(access(standing), tmp_path, mail.content, "a@sender.example", recipient)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout == expected(standing, mail.content, recipient), recipient
        changed += done.stdout != mail.content
    assert changed > MAILS // 3


def test_bare_lf_in_bare_lf_out(standing: Service, tmp_path: Path) -> None:
    done = run(access(standing), tmp_path, PLAIN.replace(b"\r\n", b"\n"), "a@sender.example", "b@example.com")
    assert done.returncode == 0
    assert done.stdout == expected(standing, PLAIN, "b@example.com").replace(b"\r\n", b"\n")


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_addresses_from_the_header_leave_it(standing: Service, tmp_path: Path, end: bytes) -> None:
    """The last field of a name is the mail system's; one that the mail brought with it counts for nothing."""
    fields = b"Toc-Envelope-Recipient: forged@example.com\r\nToc-Envelope-Sender: a@sender.example\r\n"
    fields += b"Toc-Envelope-Recipient: b@example.com\r\nToc-Envelope-Client: 192.0.2.1\r\n"
    body = b"\r\nToc-Envelope-Sender: of the body\r\n"
    done = run(access(standing), tmp_path, (fields + PLAIN + body).replace(b"\r\n", end), "--envelope-fields")
    assert done.returncode == 0
    assert done.stdout == expected(standing, PLAIN + body, "b@example.com").replace(b"\r\n", end)


def test_a_large_mail(standing: Service, tmp_path: Path) -> None:
    done = run(access(standing), tmp_path, HUGE, "a@sender.example", "b@example.com")
    assert done.returncode == 0
    assert OURS.search(done.stdout)
    assert len(done.stdout) > len(HUGE)


@pytest.mark.parametrize("fault", ["no service", "a wrong key", "no key"])
def test_whatever_fails_is_a_temporary_failure_and_nothing_is_written(
    standing: Service, tmp_path: Path, fault: str
) -> None:
    match fault:
        case "no service":
            wrong = Access(f"http://127.0.0.1:{free_port()}", standing.key)
        case "a wrong key":
            wrong = Access(standing.admin, "toc_none")
        case _:
            wrong = Access(standing.admin, "")
    done = run(wrong, tmp_path, PLAIN, "a@sender.example", "b@example.com")
    assert done.returncode == EX_TEMPFAIL
    assert done.stdout == b""
    assert done.stderr.startswith(b"toc-rewrite: ") or b"\ntoc-rewrite: " in done.stderr


def test_a_key_file_that_is_missing_is_said(standing: Service, tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TOC_API": standing.admin, "TOC_KEY_FILE": str(tmp_path / "none")}
    done = subprocess.run([FILTER, "a@sender.example"], input=PLAIN, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (EX_TEMPFAIL, b"")
    assert b"toc-rewrite: the key could not be read" in done.stderr


def test_the_way_out_restores(standing: Service, tmp_path: Path) -> None:
    inside = expected(standing, PLAIN, "b@example.com")
    assert OURS.search(inside)
    outside = run(access(standing), tmp_path, inside, "a@sender.example", "b@example.com", "192.0.2.1", "outbound")
    assert (outside.returncode, outside.stdout) == (0, PLAIN)


def test_a_mail_that_shall_wait_waits(tmp_path: Path) -> None:
    """The settings want it: ``on_unscannable``, an answer with `Toc-Disposition`. A mail that could be read is no such mail."""
    strict = start(tmp_path, more='\n[rewriter]\non_unscannable = "hold"\nmax_parts = 3\n')
    try:
        assert strict.rewrite(MANY).headers["Toc-Disposition"] == "hold"
        waits = run(access(strict), tmp_path, MANY, "a@sender.example", "b@example.com")
        passes = run(access(strict), tmp_path, PLAIN, "a@sender.example", "b@example.com")
    finally:
        stop(strict)
    assert (waits.returncode, waits.stdout) == (EX_TEMPFAIL, b"")
    assert passes.returncode == 0
    assert OURS.search(passes.stdout)

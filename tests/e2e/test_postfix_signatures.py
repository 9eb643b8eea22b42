"""Signatures through a real Postfix with `toc milter` and a real DNS answer: what came is judged before the edit, what leaves is
sealed, what goes out again is the original, whose signature verifies again; silent DNS delays no mail beyond its limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dkim
import httpx
import pytest

from tests.dkim_keys import Signer, signer
from tests.e2e.milter import Milter
from tests.e2e.postfix import Postfix, Submission, postfix, require, running_sink, send, without_received
from tests.key_server import KeyServer, key_server
from tests.ports import free_port

THEIRS, OURS = signer("example.org"), signer("example.net", "toc", 2048)
OURS_LINK = re.compile(rb"http://links\.example\.net/u/")
LINKS = b"From: a@example.org\r\nTo: b@example.net\r\nSubject:  two blanks\r\n\r\nSee https://one.example.org/a\r\n"
NO_LINKS = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nNothing to follow\r\n"
SETTINGS = """
[milter]
metrics_listen = "127.0.0.1:{metrics}"
[signatures]
authserv_id = "mx.example.net"
verify = true
seal = "{seal}"
domain = "example.net"
selector = "toc"
key = "key.pem"
nameserver = "{nameserver}"
dns_timeout_ms = 500
"""


@dataclass
class Roads:
    keys: KeyServer
    arc: Postfix
    dkim: Postfix
    outward: Postfix
    metrics: int

    def walk(self, server: Postfix, content: bytes, recipient: str = "b@example.net") -> bytes:
        mail = Submission("a@example.org", (recipient,), content)
        send(server, [mail])
        assert mail.answers == [250]
        server.wait_until_empty()
        (delivered,) = server.sink.mails.pop(recipient)
        return without_received(delivered.content)

    def known(self, name: bytes, timeout: float = 5) -> bytes | None:
        return {THEIRS.name: THEIRS.record, OURS.name: OURS.record}.get(name)

    def verifies(self, message: bytes, signed_by: Signer, number: int = 0) -> bool:
        verifier = dkim.DKIM(message)
        try:
            return verifier.verify(number, dnsfunc=self.known) and verifier.domain == signed_by.domain
        except dkim.ValidationError:
            return False


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roads]:
    require("postfix")
    folder: Path = tmp_path_factory.mktemp("signatures")
    with key_server(THEIRS, OURS) as keys, running_sink() as sink:
        plain = Milter.installed(folder)
        metrics = free_port()
        key = plain.settings.with_name("key.pem")
        key.write_bytes(OURS.private)
        key.chmod(0o640)
        arc = plain.with_settings("arc", SETTINGS.format(seal="arc", nameserver=keys.address, metrics=metrics))
        signing = plain.with_settings(
            "dkim", SETTINGS.format(seal="dkim", nameserver=keys.address, metrics=free_port())
        )
        outward = plain.with_settings(
            "outward", '[milter]\ninternal_networks = ["127.0.0.0/8"]\ninternal_domains = ["example.net"]\n'
        )
        milters = (arc, signing, outward)
        with (
            postfix(sink, milter=arc.for_postfix) as sealed,
            postfix(sink, milter=signing.for_postfix) as signed,
            postfix(sink, milter=outward.for_postfix) as behind,
        ):
            for milter in milters:
                milter.start()
            try:
                yield Roads(keys, sealed, signed, behind, metrics)
            finally:
                for milter in milters:
                    milter.stop()


def names(message: bytes) -> list[bytes]:
    head = message.partition(b"\r\n\r\n")[0]
    return [line.partition(b":")[0] for line in re.split(rb"\r\n(?![ \t])", head)]


def test_verified_before_sealed_after_and_the_original_again_on_the_way_out(roads: Roads) -> None:
    original = THEIRS.sign(LINKS)
    assert roads.verifies(original, THEIRS)
    inside = roads.walk(roads.arc, original)
    assert OURS_LINK.search(inside)
    assert not roads.verifies(inside, THEIRS)
    assert names(inside)[:5] == [
        b"ARC-Seal",
        b"ARC-Message-Signature",
        b"ARC-Authentication-Results",
        b"Authentication-Results",
        b"Toc-Result",
    ]
    assert b"\r\n\tdkim=pass header.d=example.org header.s=s" in inside
    assert dkim.ARC(inside).verify(dnsfunc=roads.known)[0] == dkim.CV_Pass
    outside = roads.walk(roads.outward, inside, "c@elsewhere.org")
    assert roads.verifies(outside, THEIRS)
    assert outside.endswith(original)


def test_a_dkim_signature_of_ours_after_the_edit(roads: Roads) -> None:
    inside = roads.walk(roads.dkim, THEIRS.sign(LINKS))
    assert names(inside)[:4] == [b"DKIM-Signature", b"Authentication-Results", b"Toc-Result", b"DKIM-Signature"]
    assert roads.verifies(inside, OURS)
    assert not roads.verifies(inside, THEIRS, 1)


def test_what_is_not_changed_is_judged_and_not_sealed(roads: Roads) -> None:
    original = THEIRS.sign(NO_LINKS)
    inside = roads.walk(roads.arc, original)
    assert names(inside)[:2] == [b"Authentication-Results", b"DKIM-Signature"]
    assert inside.endswith(original)
    assert roads.verifies(inside, THEIRS)


@pytest.mark.parametrize("content", [LINKS, NO_LINKS], ids=["changed", "unchanged"])
def test_forged_results_of_ours_do_not_come_in(roads: Roads, content: bytes) -> None:
    forged = b"Authentication-Results: mx.example.net; dkim=pass header.d=bank.example\r\n"
    others = b"Authentication-Results: other.example; spf=pass\r\n"
    inside = roads.walk(roads.arc, forged + others + forged.upper() + content)
    assert b"bank.example" not in inside.lower()
    assert others in inside
    assert b"Authentication-Results: mx.example.net;\r\n\tdkim=none" in inside


def test_a_second_gateway_goes_on_with_the_chain(roads: Roads) -> None:
    first = roads.walk(roads.arc, THEIRS.sign(LINKS))
    second = roads.walk(roads.arc, first.replace(b"\r\n\r\n", b"\r\n\r\nAnd https://two.example.org/b\r\n", 1))
    assert b"arc=fail" in second, "somebody between the two has changed the body"
    untouched = roads.walk(roads.arc, first)
    assert b"arc=pass" in untouched


def test_silent_dns_holds_no_mail_up_beyond_its_limit(roads: Roads) -> None:
    """The limit is half a second, Postfix's own 20: a mail that waited for DNS would be refused with 451."""
    roads.keys.silent.add("silent._domainkey.example.org.")
    inside = roads.walk(roads.arc, signer("example.org", "silent").sign(LINKS))
    assert b"dkim=temperror header.d=example.org header.s=silent" in inside
    assert OURS_LINK.search(inside)


def test_the_milter_counts_what_it_did(roads: Roads) -> None:
    def count(line: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{roads.metrics}/metrics").text
        found = re.search(rf"^{re.escape(line)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    lines = {
        'toc_milter_replies_total{changed="yes",disposition="accept"}': 1,
        'toc_milter_replies_total{changed="no",disposition="accept"}': 1,
        'toc_urls_total{kind="text",outcome="rewritten",reason="sealed"}': 1,
        'toc_seals_total{outcome="sealed"}': 1,
        "toc_milter_seconds_count": 2,
    }
    before = {line: count(line) for line in lines}
    roads.walk(roads.arc, LINKS)
    roads.walk(roads.arc, NO_LINKS)
    assert {line: count(line) - before[line] for line in lines} == lines

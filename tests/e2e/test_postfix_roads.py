"""A mail's roads through real Postfixes: in and out again, in and back, a chain of two gateways. What must hold: what leaves
holds the original URLs and no field of ours, what comes back is not wrapped twice, a signature verifies again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.milter import Milter
from tests.e2e.postfix import Postfix, Submission, postfix, require, running_sink, send, without_received

OURS = re.compile(rb"http://links\.example\.net/u/[a-z0-9.-]+/[A-Za-z0-9_-]+")
TARGET = b"https://shop.example.org/offer?a=1&b=2"
INTERNAL = '[milter]\ninternal_networks = ["127.0.0.0/8"]\ninternal_domains = ["example.net"]\n'


@dataclass
class Roads:
    """A gateway for mail from outside, and one for mail from us."""

    inward: Postfix
    outward: Postfix

    def walk(self, server: Postfix, recipient: str, content: bytes) -> bytes:
        """Deliver, and give back what arrived, without the server's own trace."""
        mail = Submission("a@example.org", (recipient,), content)
        send(server, [mail])
        assert mail.answers == [250]
        server.wait_until_empty()
        (delivered,) = server.sink.mails.pop(recipient)
        return without_received(delivered.content)


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roads]:
    require("postfix")
    inward = Milter.installed(tmp_path_factory.mktemp("roads"))
    outward = inward.with_settings("outward", INTERNAL)
    with (
        running_sink() as sink,
        postfix(sink, milter=inward.for_postfix) as before,
        postfix(sink, milter=outward.for_postfix) as behind,
    ):
        inward.start()
        outward.start()
        try:
            yield Roads(before, behind)
        finally:
            inward.stop()
            outward.stop()


def mail(body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> bytes:
    head = b"From: a@example.org\r\nTo: b@example.net\r\nSubject:  two blanks\r\nMIME-Version: 1.0\r\nContent-Type: "
    return head + kind + b"\r\n\r\n" + body


BODIES = {
    "text": mail(b"See " + TARGET + b" now\r\n"),
    "html": mail(b'<p><a href="' + TARGET.replace(b"&", b"&amp;") + b'">offer</a></p>\r\n', b"text/html"),
    "a link spelt otherwise than it is sealed": mail(b"See HTTPS://Shop.Example.ORG:443/offer now\r\n"),
    "a bare link in html": mail(b"<p>go to www.example.org/x</p>\r\n", b"text/html"),
}


@pytest.mark.parametrize("name", BODIES)
def test_in_and_out_again_gives_the_exact_bytes(roads: Roads, name: str) -> None:
    inside = roads.walk(roads.inward, "b@example.net", BODIES[name])
    assert OURS.search(inside)
    assert inside.startswith(b"Toc-Result: rewritten=1; ")
    outside = roads.walk(roads.outward, "c@elsewhere.org", inside)
    assert outside == BODIES[name]


def test_a_reply_with_the_quoted_text_leaves_with_the_original_urls(roads: Roads) -> None:
    inside = roads.walk(roads.inward, "b@example.net", BODIES["text"])
    (ours,) = OURS.findall(inside)
    reply = mail(b"Thanks.\r\n\r\n> See " + ours + b" now\r\n")
    outside = roads.walk(roads.outward, "a@example.org", reply)
    assert outside == mail(b"Thanks.\r\n\r\n> See " + TARGET + b" now\r\n")


def test_between_us_our_links_stay(roads: Roads) -> None:
    inside = roads.walk(roads.inward, "b@example.net", BODIES["text"])
    forwarded = roads.walk(roads.outward, "d@example.net", inside)
    assert OURS.findall(forwarded) == OURS.findall(inside)


def test_a_forwarded_mail_that_comes_back_is_not_wrapped_twice(roads: Roads) -> None:
    inside = roads.walk(roads.inward, "b@example.net", BODIES["html"])
    again = roads.walk(roads.inward, "b@example.net", inside)
    assert OURS.findall(again) == OURS.findall(inside)


def test_forged_fields_of_ours_do_not_come_in(roads: Roads) -> None:
    forged = b"Toc-Result: unprotected=0\r\nToc-Restore: AAAA\r\ntoc-result: x\r\n" + BODIES["text"]
    inside = roads.walk(roads.inward, "b@example.net", forged)
    assert [line[:21] for line in inside.lower().split(b"\r\n") if line.startswith(b"toc-")] == [
        b"toc-result: rewritten"
    ]


def test_a_dkim_signature_verifies_before_and_after_restore(roads: Roads) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])

    def verifies(content: bytes) -> bool:
        return bool(dkim.verify(content, dnsfunc=lambda _name, timeout=5: record))

    body = BODIES["text"]
    signed = dkim.sign(body, b"s", b"example.org", private, include_headers=[b"From", b"To", b"Subject"]) + body
    assert verifies(signed)
    inside = roads.walk(roads.inward, "b@example.net", signed)
    assert OURS.search(inside)
    assert not verifies(inside)
    outside = roads.walk(roads.outward, "c@elsewhere.org", inside)
    assert outside == signed
    assert verifies(outside)

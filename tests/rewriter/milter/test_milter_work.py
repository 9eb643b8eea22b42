"""Which way a mail goes follows from where it comes from and whom it is for; the reply says what the rewriter said."""

from __future__ import annotations

import pytest

from rewriter.api import Envelope as Facts
from rewriter.api import Outcome, ReceiptRow
from rewriter.milter.protocol import Client
from rewriter.milter.session import Disposition, Envelope
from rewriter.milter.work import direction, milter_work, reply_of, result, ways
from toc.token import Direction

KNOWN = ways(("10.0.0.0/8", "2001:db8:1::/48"), ("example.net", "xn--mnchen-3ya.example"), ("192.0.2.7/32",))
OURS, THEIRS = "b@example.net", "c@elsewhere.org"

WAYS = [
    ("198.51.100.4", "", (OURS,), Direction.INBOUND, "from outside"),
    ("198.51.100.4", "", (OURS, THEIRS), Direction.INBOUND, "from outside, whoever else gets it"),
    ("198.51.100.4", "anna", (THEIRS,), Direction.OUTBOUND, "one of ours on the road: she logged in"),
    ("198.51.100.4", "anna", (OURS,), Direction.INTERNAL, "logged in, to us"),
    ("10.1.2.3", "", (THEIRS,), Direction.OUTBOUND, "from our network"),
    ("10.1.2.3", "", (OURS, THEIRS), Direction.OUTBOUND, "one recipient elsewhere: our links must not leave"),
    ("10.1.2.3", "", (OURS, "d@sub.example.net"), Direction.INTERNAL, "sub-domains are ours"),
    ("10.1.2.3", "", ("e@notexample.net",), Direction.OUTBOUND, "the same letters are not a sub-domain"),
    ("10.1.2.3", "", ("f@MÜNCHEN.example",), Direction.INTERNAL, "a domain in Unicode"),
    ("10.1.2.3", "", ("root",), Direction.INTERNAL, "no domain: this very server"),
    ("2001:db8:1::5", "", (THEIRS,), Direction.OUTBOUND, "IPv6"),
    ("::ffff:10.1.2.3", "", (THEIRS,), Direction.OUTBOUND, "an IPv4 client of an IPv6 socket"),
    ("", "", (THEIRS,), Direction.OUTBOUND, "made on the server itself"),
    ("192.0.2.7", "", (OURS,), None, "a trusted relay"),
    ("unknown", "", (OURS,), Direction.INBOUND, "an address that is none is from outside"),
]


@pytest.mark.parametrize(("address", "login", "recipients", "expected", "reason"), WAYS, ids=[row[-1] for row in WAYS])
def test_direction(
    address: str, login: str, recipients: tuple[str, ...], expected: Direction | None, reason: str
) -> None:
    macros = {"auth_authen": login} if login else {}
    envelope = Envelope(Client("mx.example.net", address), "helo", "a@example.org", recipients, macros)
    assert direction(envelope, KNOWN) is expected, reason


def test_a_trusted_relay_is_known_by_address_never_by_name() -> None:
    known = ways((), (), ("192.0.2.7/32",))
    liar = Envelope(Client("192.0.2.7", "198.51.100.4"), "192.0.2.7", "a@example.org", (OURS,))
    assert direction(liar, known) is Direction.INBOUND


@pytest.mark.parametrize("text", ["mx.example.org", "10.0.0.0/33", "10.0.0.1/8"])
def test_what_is_no_network_is_refused_at_start(text: str) -> None:
    with pytest.raises(ValueError, match=text.split("/")[0]):
        ways((text,), (), ())


ROWS = tuple(
    ReceiptRow(part="1", kind="a", url="https://e.org/", outcome=outcome, reason="r")
    for outcome in ("rewritten", "rewritten", "kept", "neutralised")
)
CHANGED = Outcome(b"A: 1\r\n\r\nnew", True, True, ROWS, unprotected=1, reference="00ff")


def test_the_result_field_says_counts_version_and_receipt() -> None:
    expected = b" rewritten=2; kept=1; neutralised=1; unprotected=1; complete=yes; version=1.2; receipt=00ff"
    assert result(CHANGED, "1.2") == expected


@pytest.mark.parametrize("way", Direction)
def test_only_changed_mail_that_stays_bears_a_result(way: Direction) -> None:
    assert bool(reply_of(CHANGED, way, "1").add) is (way is not Direction.OUTBOUND)
    unchanged = reply_of(Outcome(b"A: 1\r\n\r\n", False, True), way, "1")
    assert unchanged.message is None
    assert unchanged.add == ()


@pytest.mark.parametrize(
    ("word", "expected"),
    [(None, Disposition.ACCEPT), ("hold", Disposition.QUARANTINE), ("tempfail", Disposition.TEMPFAIL)],
)
def test_the_operators_wish_for_unread_parts_is_carried_out(word: str | None, expected: Disposition) -> None:
    outcome = Outcome(b"A: 1\r\n\r\n", False, complete=word is None, disposition=word)
    assert reply_of(outcome, Direction.INBOUND, "1").disposition is expected


class Calls:
    """A rewriter's service that says which call was made: the three calls are its whole contract."""

    max_message = 1000

    async def rewrite_message(self, raw: bytes, envelope: Facts) -> Outcome:
        return Outcome(raw + f"rewrite {envelope.direction.name} {envelope.client}".encode(), True, True)

    async def restore_message(self, raw: bytes, envelope: Facts) -> Outcome:
        return Outcome(raw + f"restore {envelope.direction.name}".encode(), True, True)

    async def rewrite_body(self, body: bytes, content_type: str, envelope: Facts) -> Outcome:
        raise AssertionError("a milter has whole mails")


@pytest.mark.parametrize(
    ("address", "recipient", "expected"),
    [
        ("198.51.100.4", OURS, b"rewrite INBOUND 198.51.100.4"),
        ("10.1.2.3", OURS, b"rewrite INTERNAL 10.1.2.3"),
        ("10.1.2.3", THEIRS, b"restore OUTBOUND"),
        ("192.0.2.7", OURS, None),
    ],
)
async def test_the_call_follows_the_way(address: str, recipient: str, expected: bytes | None) -> None:
    work = milter_work(Calls(), KNOWN, "1")
    reply = await work(Envelope(Client("x", address), "x", "a@example.org", (recipient,)), b"A: 1\r\n\r\n")
    assert reply.message == (None if expected is None else b"A: 1\r\n\r\n" + expected)

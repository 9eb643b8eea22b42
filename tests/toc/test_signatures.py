"""What must hold: a mail's signatures are judged as it came and nothing in a mail can make us raise or wait; a seal on what we
changed verifies for whoever has our key from DNS; results that claim to be ours and are not never stay."""

from __future__ import annotations

import base64

import dkim
import pytest
from asn1crypto.keys import PublicKeyInfo, RSAPublicKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from rewriter.milter.authentication import without_results
from rewriter.milter.changes import Field, on_top
from tests.dkim_keys import Signer, signer
from toc import signatures
from toc.errors import ConfigError
from toc.signatures import MAX_NAMES, MAX_SIGNATURES, check, questions, seal, signing

US = "mx.example.net"
NOW = 1_760_000_000
MAIL = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\nMessage-ID: <1@example.org>\r\n\r\nSee https://e.org/a\r\n"


def records(*signers: Signer) -> dict[bytes, bytes | None]:
    return {one.name: one.record for one in signers}


def result(raw: bytes, known: dict[bytes, bytes | None]) -> list[str]:
    """The words of the field, without our name in front."""
    field = check(raw, known, US).field
    assert field is not None
    assert field.name == b"Authentication-Results"
    first, *rest = field.value.decode().split(";\r\n\t")
    assert first == f" {US}"
    return rest


def verifies(message: bytes, *signers: Signer) -> bool:
    known = records(*signers)
    return bool(dkim.verify(message, dnsfunc=lambda name, timeout=5: known.get(name)))


def chain(message: bytes, *signers: Signer) -> bytes | None:
    known = records(*signers)
    return dkim.ARC(message).verify(dnsfunc=lambda name, timeout=5: known.get(name))[0]


THEIRS, OURS = signer("example.org"), signer("example.net", "toc")
SIGNED = THEIRS.sign(MAIL)


def test_a_signature_that_verifies_passes() -> None:
    (said,) = result(SIGNED, records(THEIRS))
    assert said.startswith("dkim=pass header.d=example.org header.s=s header.b=")
    assert questions(SIGNED) == (b"s._domainkey.example.org.",)


def test_no_signature_is_none() -> None:
    assert result(MAIL, {}) == ["dkim=none"]
    assert questions(MAIL) == ()


def broken(tag: bytes, value: bytes) -> bytes:
    return SIGNED.replace(tag, value, 1)


RELAXED = THEIRS.sign(MAIL, canonicalize=(b"relaxed", b"relaxed"))
BLANKS = b" " * 1_000_000 + b"x\r\n"

CASES = [
    (SIGNED.replace(b"See", b"Sea"), records(THEIRS), "fail", "the body is another"),
    (SIGNED.replace(b"Subject: x", b"Subject: y"), records(THEIRS), "fail", "a signed field is another"),
    (SIGNED, {THEIRS.name: OURS.record}, "fail", "another key"),
    (SIGNED, {THEIRS.name: None}, "permerror", "no such key"),
    (SIGNED, {}, "temperror", "DNS did not answer"),
    (SIGNED, {THEIRS.name: b"v=DKIM1; p="}, "permerror", "a key that was withdrawn"),
    (SIGNED, {THEIRS.name: b"v=DKIM1; k=rsa; p=" + b"A" * 5000}, "permerror", "a record that would cost minutes"),
    (SIGNED, {THEIRS.name: b"v=DKIM1; k=rsa; p=!!!"}, "permerror", "a key that is none"),
    (broken(b"v=1;", b""), records(THEIRS), "permerror", "no version"),
    (broken(b"a=rsa-sha256", b"a=rot13"), records(THEIRS), "permerror", "an algorithm that is none"),
    (broken(b" d=example.org", b" d=exam ple"), records(THEIRS), "permerror", "a domain that is none"),
    (broken(b"v=1;", b"v=1; x=" + b" " * 5000 + b"1;"), records(THEIRS), "permerror", "a field past the limit"),
    (broken(b"v=1;", b"v=1; v=1;"), records(THEIRS), "permerror", "a tag twice"),
    (b"DKIM-Signature: \xff\xfe\r\n" + MAIL, {}, "permerror", "no tags at all"),
    (THEIRS.sign(MAIL, signature_algorithm=b"rsa-sha1"), records(THEIRS), "policy", "SHA-1"),
    (THEIRS.sign(MAIL, length=True), records(THEIRS), "policy", "a signature of a part of the body"),
    (THEIRS.sign(MAIL, length=True) + b"more\r\n", records(THEIRS), "policy", "more text behind that part"),
    (RELAXED + b" " * 1000 + b"\r\n", records(THEIRS), "pass", "blanks that the canonical form takes away"),
    (RELAXED + BLANKS, records(THEIRS), "policy", "blanks that would take hours"),
]


@pytest.mark.parametrize(("raw", "known", "expected", "reason"), CASES, ids=[row[-1] for row in CASES])
def test_results(raw: bytes, known: dict[bytes, bytes | None], expected: str, reason: str) -> None:
    assert [said.split(" ")[0] for said in result(raw, known)] == [f"dkim={expected}"], reason


def test_a_short_key_is_against_policy() -> None:
    short = RSAPublicKey({"modulus": 2**511 + 111, "public_exponent": 65537})
    record = b"k=rsa; p=" + base64.b64encode(PublicKeyInfo.wrap(short, "rsa").dump())
    assert [said.split(" ")[0] for said in result(SIGNED, {THEIRS.name: record})] == ["dkim=policy"]


def test_each_signature_has_its_result_up_to_a_limit() -> None:
    other = signer("other.example")
    both = other.sign(SIGNED)
    assert [said.split(" header.s")[0] for said in result(both, records(THEIRS, other))] == [
        "dkim=pass header.d=other.example",
        "dkim=pass header.d=example.org",
    ]
    many = b"".join(b"DKIM-Signature: d=d%d.example; s=s\r\n" % number for number in range(100)) + MAIL
    assert len(result(many, {})) == MAX_SIGNATURES
    assert len(questions(many)) == MAX_SIGNATURES


def test_what_is_not_a_token_is_quoted() -> None:
    raw = b'DKIM-Signature: v=1; d=example.org; s=s; b=a"b\\;\r\n' + MAIL
    (said,) = result(raw, {})
    assert said == 'dkim=temperror header.d=example.org header.s=s header.b="a_b_"'


def sealed(message: bytes, *, by: Signer = OURS, known: dict[bytes, bytes | None], server: str = US) -> bytes:
    """`message` as it leaves a gateway that verified, changed and sealed it."""
    checked = check(message, known, server)
    assert checked.field is not None
    assert checked.sealable
    after = on_top([checked.field], message.replace(b"https://e.org/a", b"https://links.example.net/u/e.org/1x"))
    signed = signing(server, by.domain.decode(), by.selector.decode(), by.private, arc=True)
    return on_top(seal(after, signed, NOW), after)


def test_a_sealed_chain_verifies_after_the_edit() -> None:
    after = sealed(SIGNED, known=records(THEIRS))
    assert verifies(SIGNED, THEIRS)
    assert not verifies(after, THEIRS)
    assert chain(after, OURS) == dkim.CV_Pass
    assert chain(after.replace(b"/1x", b"/2x"), OURS) == dkim.CV_Fail
    assert b"ARC-Authentication-Results: i=1; mx.example.net;\r\n dkim=pass" in after


def test_a_chain_goes_on_and_is_judged_by_the_next() -> None:
    next_one = signer("next.example")
    known = records(THEIRS, OURS)
    first = sealed(SIGNED, known=known)
    second = sealed(first.replace(b"links.example.net", b"e.org/a"), by=next_one, known=known, server="mx.next.example")
    assert "arc=fail" in result(second.replace(b"Subject: x", b"Subject: y"), known | records(next_one))
    untouched = sealed(first, by=next_one, known=known, server="mx.next.example")
    assert "arc=pass" in result(untouched, known | records(next_one))
    assert chain(untouched, OURS, next_one) == dkim.CV_Pass


def test_a_chain_whose_keys_did_not_answer_is_neither_judged_nor_sealed() -> None:
    first = sealed(SIGNED, known=records(THEIRS))
    checked = check(first, records(THEIRS), US)
    assert not checked.sealable
    assert checked.field is not None
    assert b"arc=" not in checked.field.value


@pytest.mark.parametrize("cut", [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"])
def test_a_chain_with_a_hole_fails(cut: bytes) -> None:
    first = sealed(SIGNED, known=records(THEIRS))
    assert "arc=fail" in result(first.replace(cut + b":", b"X-Cut:", 1), records(THEIRS, OURS))


def test_a_chain_of_very_many_signers_is_not_asked_for() -> None:
    many = b"".join(b"ARC-Seal: i=%d; d=d%d.example; s=s\r\n" % (number, number) for number in range(1, 200)) + MAIL
    assert len(questions(many)) == MAX_NAMES
    assert result(many, {}) == ["arc=fail"]


def test_a_chain_longer_than_the_limit_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    first = sealed(SIGNED, known=records(THEIRS))
    known = records(THEIRS, OURS)
    assert "arc=pass" in result(first, known)
    monkeypatch.setattr(signatures, "MAX_CHAIN", 0)
    assert "arc=fail" in result(first, known)


@pytest.mark.parametrize("arc", [True, False])
def test_blanks_that_would_take_hours_are_neither_verified_nor_sealed(arc: bool) -> None:
    checked = check(MAIL + BLANKS, {}, US)
    assert checked.field is not None
    assert not checked.sealable
    by = signing(US, "example.net", "toc", OURS.private, arc=arc)
    assert seal(on_top([checked.field], MAIL + BLANKS), by, NOW) == ()


def test_a_dkim_signature_of_ours_verifies() -> None:
    by = signing(US, "example.net", "toc", OURS.private, arc=False)
    (field,) = seal(MAIL, by, NOW)
    assert field.name == b"DKIM-Signature"
    assert verifies(on_top([field], MAIL), OURS)
    assert not verifies(on_top([field], MAIL.replace(b"See", b"Sea")), OURS)


@pytest.mark.parametrize("key", [b"", b"no key", OURS.private[:200], b"curve"])
def test_keys_that_cannot_sign_are_refused_at_start(key: bytes) -> None:
    if key == b"curve":
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form)
    with pytest.raises(ConfigError, match=r"\[signatures\] key"):
        signing(US, "example.net", "toc", key, arc=True)


FORGED = [
    (b"Authentication-Results: mx.example.net; dkim=pass", True, "ours"),
    (b"authentication-results:mx.example.net;spf=pass", True, "no blank, another case"),
    (b"Authentication-Results: MX.Example.NET 1; dkim=pass", True, "another case, a version"),
    (b"Authentication-Results:\r\n mx.example.net;\r\n dkim=pass", True, "folded"),
    (b"Authentication-Results: (a (nested) comment) mx.example.net; dkim=pass", True, "behind a comment"),
    (b'Authentication-Results: "mx.example.net"; dkim=pass', True, "quoted"),
    (b'Authentication-Results: "mx.\\example.net"; dkim=pass', True, "quoted letter by letter"),
    (b"Authentication-Results : mx.example.net; dkim=pass", True, "a blank before the colon"),
    (b"Authentication-Results: mx.example.net(comment); none", True, "a comment right behind"),
    (b"Authentication-Results: mx.example.net", True, "nothing but the name"),
    (rb"Authentication-Results: (\)) mx.example.net; dkim=pass", True, "behind a comment with an escaped end"),
    (rb"Authentication-Results: (\() mx.example.net; dkim=pass", True, "behind a comment with an escaped start"),
    (b"Authentication-Results: mx.example.net.; dkim=pass", True, "with the root's dot"),
    (
        b"Authentication-Results: " + b"(" * 20_000 + b")" * 20_000 + b"mx.example.net;",
        True,
        "nested: one pass, not minutes",
    ),
    (b"Authentication-Results: (mx.example.net; dkim=pass", False, "a comment without an end"),
    (b"Authentication-Results: mx.example.net.other.example; dkim=pass", False, "another host"),
    (b"Authentication-Results: other.example; dkim=pass (mx.example.net)", False, "another host, ours in a comment"),
    (b"Authentication-Results:", False, "empty"),
    (b"X-Authentication-Results: mx.example.net; dkim=pass", False, "another field"),
]


@pytest.mark.parametrize(("field", "goes", "reason"), FORGED, ids=[row[-1] for row in FORGED])
def test_results_that_claim_to_be_ours_go(field: bytes, goes: bool, reason: str) -> None:
    message = b"X-One: 1\r\n" + field + b"\r\n" + MAIL
    after = without_results(message, US)
    assert after == (b"X-One: 1\r\n" + MAIL if goes else message), reason


@given(st.binary(max_size=200), st.sampled_from([b"DKIM-Signature", b"ARC-Seal", b"ARC-Message-Signature"]))
def test_nothing_in_a_mail_makes_us_raise(value: bytes, name: bytes) -> None:
    raw = name + b": i=1; d=example.org; s=s; " + value.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n" + MAIL
    known = dict.fromkeys(questions(raw), THEIRS.record)
    field = check(raw, known, US).field
    assert field is not None
    assert b"pass" not in field.value
    assert isinstance(field, Field)
    assert b"\n" not in field.value.replace(b"\r\n\t", b"")

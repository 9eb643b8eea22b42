"""Signed and encrypted mail.

Invariants: a part stays as it is only where its signature verifies to a root that the operator trusts, at that time, made with
a certificate for mail; every other wrapper talks nobody out of his job; what stands beside a signed part is rewritten.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from rewriter.headers import remove_fields
from rewriter.message import Rewritten, rewrite_message
from rewriter.options import Options
from rewriter.receipt import Outcome
from rewriter.restore import restore_message
from rewriter.signed import open_envelope
from tests.reversible import open_link, open_restore, protect, seal_restore

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PART = b"Content-Type: text/html\r\n\r\n<a href=https://example.org/>x</a>\r\n"
HEAD = b"From: a@example.org\r\nMIME-Version: 1.0\r\n"
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def certificate(
    name: str,
    key: Key,
    issuer: str,
    by: Key,
    *,
    ca: bool = False,
    usage: ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=30))
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        builder = builder.add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
    else:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name("a@example.org")]), critical=False)
    return builder.sign(by, hashes.SHA256())


@cache
def root() -> tuple[Key, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    return key, certificate("Root", key, "Root", key, ca=True)


@cache
def signer(
    kind: str = "rsa", usage: ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION
) -> tuple[Key, x509.Certificate]:
    key: Key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    return key, certificate("A", key, "Root", root()[0], usage=usage)


def sign(content: bytes, key: Key, owner: x509.Certificate, *options: pkcs7.PKCS7Options) -> bytes:
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(owner, key, hashes.SHA256())
    return builder.sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary, *options])


def detached(part: bytes, signature: bytes, more: bytes = b"") -> bytes:
    return (
        HEAD + b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=s\r\n\r\n'
        b"--s\r\n" + part + b"\r\n--s\r\n"
        b"Content-Type: application/pkcs7-signature; name=smime.p7s\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(signature).replace(b"\n", b"\r\n") + more + b"--s--\r\n"
    )  # fmt: skip


def opaque(der: bytes) -> bytes:
    head = b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return HEAD + head + base64.encodebytes(der)


def trusting(raw: bytes, now: datetime | None = NOW, *roots: x509.Certificate) -> Rewritten:
    trusted = tuple(item.public_bytes(serialization.Encoding.DER) for item in roots or (root()[1],))
    return rewrite_message(raw, protect, Options(trust_roots=trusted, now=now), seal_restore)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_part_whose_signature_verifies_stays(kind: str) -> None:
    raw = detached(PART, sign(PART, *signer(kind), pkcs7.PKCS7Options.DetachedSignature))
    done = trusting(raw)
    assert done.message == raw
    assert [(row.outcome, row.reason) for row in done.rows] == [(Outcome.KEPT, "signed")]
    assert done.unprotected == 1


def test_line_ends_do_not_matter_to_a_signature() -> None:
    raw = detached(PART, sign(PART, *signer(), pkcs7.PKCS7Options.DetachedSignature)).replace(b"\r\n", b"\n")
    assert trusting(raw).message == raw


def unverified() -> list[tuple[str, bytes, datetime | None, tuple[x509.Certificate, ...]]]:
    good = sign(PART, *signer(), pkcs7.PKCS7Options.DetachedSignature)
    own_key = ec.generate_private_key(ec.SECP256R1())
    own = certificate("A", own_key, "A", own_key)
    other_key = ec.generate_private_key(ec.SECP256R1())
    web = signer("ec", ExtendedKeyUsageOID.CODE_SIGNING)
    return [
        ("another text", detached(PART.replace(b">x<", b">y<"), good), NOW, ()),
        ("signed by himself", detached(PART, sign(PART, own_key, own, pkcs7.PKCS7Options.DetachedSignature)), NOW, ()),
        ("another root", detached(PART, good), NOW, (certificate("B", other_key, "B", other_key, ca=True),)),
        ("expired", detached(PART, good), NOW + timedelta(days=60), ()),
        ("no time to verify at", detached(PART, good), None, ()),
        ("a certificate for code", detached(PART, sign(PART, *web, pkcs7.PKCS7Options.DetachedSignature)), NOW, ()),
        ("no signature at all", detached(PART, b"junk"), NOW, ()),
        ("an empty one", detached(PART, b""), NOW, ()),
        ("cut short", detached(PART, good[:-40]), NOW, ()),
        ("no signers", detached(PART, _without_signers(good)), NOW, ()),
        ("a third part", detached(PART, good, b"\r\n--s\r\n\r\nhello\r\n"), NOW, ()),
    ]


def _without_signers(der: bytes) -> bytes:
    info = cms.ContentInfo.load(der)
    info["content"]["signer_infos"] = cms.SignerInfos([])
    return bytes(info.dump(force=True))


@pytest.mark.parametrize(
    ("why", "raw", "now", "roots"), unverified(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_signature_that_does_not_verify_keeps_nothing(
    why: str, raw: bytes, now: datetime | None, roots: tuple[x509.Certificate, ...]
) -> None:
    done = trusting(raw, now, *roots)
    assert done.rewritten == 1, why
    assert "signature_unverified" in done.notes
    assert restore_message(done.message, open_link, open_restore) == raw


def test_opaque_signed_data_that_verifies_stays() -> None:
    raw = opaque(sign(PART, *signer()))
    done = trusting(raw)
    assert done.message == raw
    assert [row.reason for row in done.rows] == ["signed"]


def test_opaque_signed_data_of_a_stranger_is_rewritten_inside() -> None:
    raw = opaque(sign(PART, *signer()))
    done = rewrite_message(raw, protect, Options(), seal_restore)
    assert done.rewritten == 1
    plain = remove_fields(done.message, {"toc-restore"})
    content = open_envelope(base64.b64decode(plain.split(b"\r\n\r\n", 1)[1])).content
    assert b"https://toc.example/u/example.org/" in content
    assert b"https://example.org/" not in content
    assert restore_message(done.message, open_link, open_restore) == raw


def test_a_signed_file_is_no_mail_and_stays() -> None:
    raw = opaque(sign(b"%PDF-1.4 https://example.org/\r\n", *signer()))
    done = rewrite_message(raw, protect, Options(), seal_restore)
    assert done.message == raw
    assert done.complete


def test_an_encrypted_envelope_stays_and_is_told() -> None:
    envelope = pkcs7.PKCS7EnvelopeBuilder().set_data(PART).add_recipient(signer()[1])
    der = envelope.encrypt(serialization.Encoding.DER, [])
    done = rewrite_message(opaque(der), protect, Options())
    assert done.message == opaque(der)
    assert "encrypted" in done.notes


def test_an_envelope_that_is_none_is_unscannable() -> None:
    raw = opaque(b"junk http://example.org/")
    done = rewrite_message(raw, protect, Options())
    assert not done.complete
    assert b"hxxp://example.org/" in base64.b64decode(done.message.split(b"\r\n\r\n", 1)[1])


PGP = HEAD + (
    b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=s\r\n\r\n--s\r\n'
    + PART
    + b"\r\n--s\r\n"
    b"Content-Type: application/pgp-signature\r\n\r\n-----BEGIN PGP SIGNATURE-----\r\n--s--\r\n"
)
PGP_TEXT = b"\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nhttps://example.org/\r\n-----BEGIN PGP"
PATCH = b"Content-Type: text/x-patch\r\n\r\ndiff --git a/x b/x\r\n+ https://example.org/\r\n"


@pytest.mark.parametrize(
    ("raw", "rule", "reason"),
    [
        (PGP, Options(keep_pgp=True), "pgp_signed"),
        (PGP_TEXT, Options(keep_pgp=True), "pgp_signed"),
        (PATCH, Options(keep_patches=True), "patch"),
    ],
)
def test_pgp_and_patches_stay_only_for_senders_that_a_rule_names(raw: bytes, rule: Options, reason: str) -> None:
    kept = rewrite_message(raw, protect, rule)
    assert kept.message == raw
    assert [row.reason for row in kept.rows] == [reason]
    assert rewrite_message(raw, protect, Options()).rewritten == 1

"""Signed and encrypted parts: which are kept as they are, and why. Pure but for cryptography's verification.

A signature that nobody checked protects nobody: an attacker can sign his own mail. So a signed part is kept only where the
signature verifies to the operator's trust store, or where a rule names the sender.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from rewriter.mime import ContentType
from rewriter.options import Options
from rewriter.transfer import decode_base64

ENCRYPTED = frozenset({"multipart/encrypted"})
_SMIME_SIGNATURES = frozenset({"application/pkcs7-signature", "application/x-pkcs7-signature"})
_PGP_TEXT = re.compile(r"\s*-----BEGIN PGP (SIGNED )?MESSAGE-----\s")
_PATCH = re.compile(r"^(?:diff --git |Index: |--- [^\n]+\n\+\+\+ )|^-----BEGIN [A-Z0-9 ]{3,40}-----$", re.MULTILINE)
_HASHES: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def signature_kind(kind: ContentType) -> str | None:
    """``smime`` or ``pgp`` for a multipart/signed, ``encrypted`` for an encrypted one, else None."""
    if kind.kind in ENCRYPTED:
        return "encrypted"
    if kind.kind != "multipart/signed":
        return None
    protocol = kind.parameters.get("protocol", "").lower()
    return "pgp" if "pgp" in protocol else "smime"


def is_encrypted_leaf(kind: ContentType) -> bool:
    """An S/MIME envelope, or opaque signed data: bytes that no client shows as they are."""
    return kind.kind in ("application/pkcs7-mime", "application/x-pkcs7-mime")


def text_exemption(text: str, options: Options) -> str | None:
    """The reason to keep a text as it is: PGP in the text, a patch, PEM; only for senders that a rule names."""
    pgp = _PGP_TEXT.match(text)
    if pgp is not None and not pgp.group(1):
        return "encrypted"
    if options.keep_pgp and pgp is not None:
        return "pgp_signed"
    if options.keep_patches and _PATCH.search(text):
        return "patch"
    return None


def verifies(signed: bytes, signature: bytes, roots: Sequence[bytes], now: datetime) -> bool:
    """Whether the detached S/MIME `signature` (base64) over the part `signed` verifies to one of `roots` (DER).

    Never raises.
    """
    signed = re.sub(rb"\r\n|\r|\n", b"\r\n", signed)
    try:
        info = cms.ContentInfo.load(decode_base64(signature))
        if info["content_type"].native != "signed_data":
            return False
        return _verify(info["content"], signed, roots, now)
    except (ValueError, TypeError, KeyError, InvalidSignature, x509.verification.VerificationError):
        return False


def _verify(data: cms.SignedData, content: bytes, roots: Sequence[bytes], now: datetime) -> bool:
    certificates = [x509.load_der_x509_certificate(item.chosen.dump()) for item in data["certificates"]]
    for signer in data["signer_infos"]:
        certificate = next((item for item in certificates if item.serial_number == _serial(signer)), None)
        if certificate is None or not _signature_holds(signer, content, certificate):
            return False
        store = x509.verification.Store([x509.load_der_x509_certificate(root) for root in roots])
        policy = x509.verification.ExtensionPolicy.permit_all()
        builder = x509.verification.PolicyBuilder().store(store).time(now)
        builder = builder.extension_policies(ca_policy=policy, ee_policy=policy)
        builder.build_client_verifier().verify(certificate, [item for item in certificates if item != certificate])
    return len(data["signer_infos"]) > 0


def _serial(signer: cms.SignerInfo) -> int:
    return int(signer["sid"].chosen["serial_number"].native)


def _signature_holds(signer: cms.SignerInfo, content: bytes, certificate: x509.Certificate) -> bool:
    """Raises InvalidSignature."""
    algorithm = _HASHES[signer["digest_algorithm"]["algorithm"].native]()
    digest = hashes.Hash(algorithm)
    digest.update(content)
    signed_attributes = signer["signed_attrs"]
    message = content
    if signed_attributes:
        stated = next(
            (item["values"][0].native for item in signed_attributes if item["type"].native == "message_digest"), None
        )
        if stated != digest.finalize():
            return False
        message = signed_attributes.untag().dump()
    signature = signer["signature"].native
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(algorithm))
    else:
        return False
    return True

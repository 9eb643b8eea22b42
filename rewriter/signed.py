"""Signed and encrypted parts: which are kept as they are, and why. Pure but for cryptography's verification.

A signature that nobody checked protects nobody: an attacker can sign his own mail. So a signed part is kept only where the
signature verifies to the operator's trust store, or where a rule names the sender.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from rewriter.content_type import ContentType
from rewriter.options import Options

MAX_INFLATED = 100_000_000
MAX_SIGNERS = 5
"""Signers and certificates of one signature that are looked at; mails have one signer and a short chain."""

MAX_CERTIFICATES = 20

_PGP_SIGNED = re.compile(r"\s*-----BEGIN PGP SIGNED MESSAGE-----\s")
_PATCH = re.compile(r"^(?:diff --git |Index: |--- [^\n]+\n\+\+\+ )|^-----BEGIN [A-Z0-9 ]{3,40}-----$", re.MULTILINE)
_HASHES: dict[str, type[hashes.SHA1 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
"""Digests that a signature may rest on. MD5 and SHA-1 can be made to collide: such a signature does not verify."""


_SURPRISES = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.verification.VerificationError,
)
"""What the libraries raise on structures that are none, and on signatures that do not hold."""


def signature_kind(kind: ContentType) -> str | None:
    """``smime`` or ``pgp`` for a multipart/signed, else None."""
    if kind.kind != "multipart/signed":
        return None
    return "pgp" if "pgp" in kind.parameters.get("protocol", "").lower() else "smime"


def text_exemption(text: str, options: Options) -> str | None:
    """The reason to keep a text as it is: PGP-signed in the text, a patch, PEM; only for senders that a rule names."""
    if options.keep_pgp and _PGP_SIGNED.match(text):
        return "pgp_signed"
    if options.keep_patches and _PATCH.search(text):
        return "patch"
    return None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an application/pkcs7-mime holds.

    kind:    ``signed``, ``compressed``, or ``encrypted`` for all that nobody can read without a key
    content: the MIME entity inside, empty where it is encrypted
    info:    the parsed structure, from which `rewrap` makes another one
    """

    kind: str
    content: bytes
    info: cms.ContentInfo


def open_envelope(der: bytes) -> Envelope:
    """Raises ValueError where `der` is no CMS structure (RFC 5652)."""
    try:
        info = cms.ContentInfo.load(der)
        kind = info["content_type"].native
        if kind == "signed_data":
            return Envelope("signed", info["content"]["encap_content_info"]["content"].native or b"", info)
        if kind == "compressed_data":
            packed = info["content"]["encap_content_info"]["content"].native or b""
            return Envelope("compressed", zlib.decompressobj().decompress(packed, MAX_INFLATED), info)
    except (TypeError, KeyError, AttributeError, zlib.error) as error:
        raise ValueError("no CMS structure") from error
    return Envelope("encrypted", b"", info)


def rewrap(envelope: Envelope, content: bytes) -> bytes:
    """The same structure around other content. Its signature does not verify any more, as it did not before."""
    body = zlib.compress(content) if envelope.kind == "compressed" else content
    info = envelope.info.copy()
    info["content"]["encap_content_info"]["content"] = body
    return bytes(info.dump(force=True))


def verifies(content: bytes, signature: bytes, roots: Sequence[bytes], now: datetime) -> bool:
    """Whether the S/MIME `signature` (CMS, DER) over `content` verifies to one of `roots` (DER) at `now`. Never raises."""
    try:
        info = cms.ContentInfo.load(signature)
        return info["content_type"].native == "signed_data" and _verify(info["content"], content, roots, now)
    except _SURPRISES:
        return False


def canonical(part: bytes) -> bytes:
    """A part as it is signed in the clear (RFC 8551, 3.1.1): lines end in CRLF."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", part)


def _verify(data: cms.SignedData, content: bytes, roots: Sequence[bytes], now: datetime) -> bool:
    """Every signer holds, and there is one. Raises what the libraries raise."""
    signers = list(data["signer_infos"])
    if not signers or len(signers) > MAX_SIGNERS or len(data["certificates"]) > MAX_CERTIFICATES:
        return False
    certificates = [x509.load_der_x509_certificate(item.chosen.dump()) for item in data["certificates"]]
    store = x509.verification.Store([x509.load_der_x509_certificate(root) for root in roots])
    # Certificates for mail have no DNS names, and old ones lack extensions that the web's profile wants.
    any_criticality = x509.verification.Criticality.AGNOSTIC
    leaf = x509.verification.ExtensionPolicy.permit_all()
    issuer = leaf.require_present(x509.BasicConstraints, any_criticality, None)
    builder = x509.verification.PolicyBuilder().store(store).time(now)
    verifier = builder.extension_policies(ca_policy=issuer, ee_policy=leaf).build_client_verifier()
    for signer in signers:
        serial = int(signer["sid"].chosen["serial_number"].native)
        certificate = next((item for item in certificates if item.serial_number == serial), None)
        if certificate is None or not _signature_holds(signer, content, certificate) or not _for_mail(certificate):
            return False
        verifier.verify(certificate, [item for item in certificates if item != certificate])
    return True


def _for_mail(certificate: x509.Certificate) -> bool:
    """Whether the certificate may sign mail (RFC 8550, 4.4.4): no extended key usage, or one that says so."""
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    wanted = (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return any(item in usage for item in wanted)


def _signature_holds(signer: cms.SignerInfo, content: bytes, certificate: x509.Certificate) -> bool:
    """Raises InvalidSignature; KeyError for a digest that is not taken."""
    algorithm = _HASHES[signer["digest_algorithm"]["algorithm"].native]()
    digest = hashes.Hash(algorithm)
    digest.update(content)
    attributes = signer["signed_attrs"]
    message = content
    if len(attributes):
        stated = [item["values"][0].native for item in attributes if item["type"].native == "message_digest"]
        if stated != [digest.finalize()]:
            return False
        message = attributes.untag().dump(force=True)
    signature = signer["signature"].native
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), algorithm)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, message, ec.ECDSA(algorithm))
    else:
        return False
    return True

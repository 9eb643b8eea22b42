"""Keys of signers, made by the tests that use them, and the records that they would have in DNS."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@dataclass(frozen=True)
class Signer:
    """`name` is the DNS name of the key, with its last dot."""

    domain: bytes
    selector: bytes
    private: bytes
    record: bytes

    @property
    def name(self) -> bytes:
        return self.selector + b"._domainkey." + self.domain + b"."

    def sign(self, message: bytes, **more) -> bytes:
        """`message` with a DKIM signature on top."""
        headers = [b"From", b"To", b"Subject"]
        return dkim.sign(message, self.selector, self.domain, self.private, include_headers=headers, **more) + message


@cache
def signer(domain: str, selector: str = "s", bits: int = 1024) -> Signer:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    record = b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])
    return Signer(domain.encode(), selector.encode(), private, record)

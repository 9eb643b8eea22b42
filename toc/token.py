"""The link: sealing a target into a token and opening it again. Pure; knows keys, no store, no policy, no clock.

    {public_url}/u/{host}/{token}
    token      = version digit, base64url without padding of kid[4] SIV[16] ciphertext, "x"
    ciphertext = AES-SIV (RFC 5297) of: issued u32, message_ref 8, recipient_ref 8, profile u16, flags u16, target
    key        = HKDF-SHA256(master[kid], no salt, "toc/link/1/" deployment "/" tenant), 64 bytes
    associated = "toc-link", version, kid, deployment, tenant, host

Mails carry this format for ten years: it never changes; a new one gets a new version digit.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum, IntFlag
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from toc.errors import BadLink, StoreNeeded
from toc.keys import Key, Keyset
from toc.url import Url, ascii_host

NO_REF = bytes(8)
"""A message or recipient that is not known."""

MAX_HOST_PART = 63
MAX_CANDIDATES = 8
STORED_ID = 16  # bytes

_LAST_HOUR = int(datetime(9999, 12, 31, 23, tzinfo=UTC).timestamp()) // 3600  # Python's calendar ends there
_HEAD = struct.Struct(">I8s8sHH")
_HOST_PART = re.compile(r"[a-z0-9.-]+\Z")
_BODY = re.compile(r"[A-Za-z0-9_-]+\Z")
_ALPHABET = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_END = re.compile(r"x(?=[-_]|\Z)")
_VERSIONS = frozenset("12")
_PADDING = ("", "", "==", "=")
_LAST = {0: _ALPHABET, 2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
"""What a text of base64 without padding may end with, by its length modulo 4: the bits that stand for nothing are zero."""
_SOFT_BREAK = re.compile(r"=[ \t]*\r?\n")
_SHORTEST = len("1x") + (4 + 16 + _HEAD.size) * 4 // 3


class Direction(IntEnum):
    INBOUND = 0
    OUTBOUND = 1
    INTERNAL = 2


class Flag(IntFlag):
    """Bits 2 to 6 of the flags field; bits 0 and 1 hold the `Direction`. Unknown bits are ignored."""

    TEXT_DIFFERS = 4  # the link's text shows another host
    FORM = 8
    FRAME = 16  # frame or refresh
    IN_TEXT = 32  # found in text
    IMPLIED = 64  # the scheme was implied


NO_FLAGS = Flag(0)


class Sealed(NamedTuple):
    """What a link of ours says.

    target:        absolute http(s) URL as a browser serialises it
    other:         the other reading where a text boundary was ambiguous
    issued:        UTC, to the hour
    message_ref:   8 bytes, `NO_REF` where not known
    recipient_ref: 8 bytes, `NO_REF` where not known
    profile:       number of the policy profile
    key_id:        4 bytes; the primary key's when sealing
    stored:        True for version 2, whose target stands in the store
    """

    target: str
    issued: datetime
    other: str | None = None
    message_ref: bytes = NO_REF
    recipient_ref: bytes = NO_REF
    profile: int = 0
    direction: Direction = Direction.INBOUND
    flags: Flag = NO_FLAGS
    key_id: bytes = b""
    stored: bool = False


@lru_cache(maxsize=256)
def _cipher(secret: bytes, purpose: str, deployment: str, tenant: str) -> AESSIV:
    info = f"toc/{purpose}/1/{deployment}/{tenant}".encode("ascii")
    return AESSIV(HKDF(SHA256(), 64, None, info).derive(secret))


def _associated(version: bytes, key: Key, keyset: Keyset, host: str) -> list[bytes]:
    return [*_same_for_all(version, key.id, keyset.deployment, keyset.tenant), host.encode()]


@lru_cache(maxsize=256)
def _same_for_all(version: bytes, key_id: bytes, deployment: str, tenant: str) -> tuple[bytes, ...]:
    return b"toc-link", version, key_id, deployment.encode(), tenant.encode()


def host_part(url: Url) -> str:
    """The part of the link that is there for the reader's eye (docs/link.md): ``-`` where the host cannot be shown."""
    return "-" if url.is_ip else _shown(url.host)


@lru_cache(maxsize=4096)
def _shown(host: str) -> str:
    if not _HOST_PART.match(host):
        return "-"
    while len(host) > MAX_HOST_PART:
        _, dot, host = host.partition(".")
        if not dot:
            return "-"
    return host if host.strip(".") else "-"  # "." and ".." would be path segments that browsers remove


def target_field(target: str, other: str | None) -> bytes:
    """The target as it stands in the seal, or, for version 2, in the store."""
    return target.encode() + (b"\0" + other.encode() if other else b"")


def stored_id(field: bytes, keyset: Keyset) -> bytes:
    """Id of a stored target field: the same target has the same row, and nobody can guess an id."""
    return hmac.digest(keyset.ref_key, field, "sha256")[:STORED_ID]


def seal(sealed: Sealed, host: str, keyset: Keyset) -> str:
    """The token. `host` is the link's host part. For a stored one the caller has put `target_field` into the store."""
    key = keyset.primary
    version = b"2" if sealed.stored else b"1"
    field = target_field(sealed.target, sealed.other)
    plain = _HEAD.pack(
        int(sealed.issued.timestamp()) // 3600,
        sealed.message_ref,
        sealed.recipient_ref,
        sealed.profile,
        int(sealed.direction) | int(sealed.flags),  # as numbers: the enums' own operator is slow
    ) + (stored_id(field, keyset) if sealed.stored else field)
    cipher = _cipher(key.secret, "link", keyset.deployment, keyset.tenant)
    body = key.id + cipher.encrypt(plain, _associated(version, key, keyset, host))
    return (version + urlsafe_b64encode(body).rstrip(b"=") + b"x").decode("ascii")


def link_length(target_bytes: int, base: int, host: int) -> int:
    """Characters of an inline link whose target field, base URL and host part have these lengths."""
    body = 4 + 16 + _HEAD.size + target_bytes
    return base + len("/u//1x") + host + (body * 4 + 2) // 3


def open_token(token: str, host: str, keyset: Keyset, stored: Callable[[bytes], bytes | None] | None = None) -> Sealed:
    """Open one exact token. `stored` finds the target field of a version 2 link by its id.

    Raises BadLink for anything but a token of this keyset with this host part; StoreNeeded for version 2 without store.
    """
    version, body = token[:1], token[1:-1]
    if version not in ("1", "2") or token[-1:] != "x" or not _BODY.match(body):
        raise BadLink("not a token")
    return _open_body(version, body, host, keyset, stored)


def _open_body(
    version: str, body: str, host: str, keyset: Keyset, stored: Callable[[bytes], bytes | None] | None
) -> Sealed:
    """Raises BadLink, StoreNeeded."""
    spare = len(body) % 4
    if (
        not body or spare == 1 or body[-1] not in _LAST[spare]
    ):  # base64 takes several spellings of one value; exactly one is ours
        raise BadLink("not a canonical token")
    if "+" in body or "/" in body:
        raise BadLink("not a token")  # the other alphabet of base64
    try:
        raw = a2b_base64(body.replace("-", "+").replace("_", "/") + _PADDING[spare], strict_mode=True)
    except ValueError:
        raise BadLink("not a token") from None
    key = keyset.usable(raw[:4])
    if key is None:
        raise BadLink("unknown key", key_id=raw[:4].hex())
    cipher = _cipher(key.secret, "link", keyset.deployment, keyset.tenant)
    try:
        plain = cipher.decrypt(raw[4:], _associated(version.encode(), key, keyset, host))
    except (InvalidTag, ValueError):
        raise BadLink("forged or damaged") from None
    return _unpack(plain, version == "2", key.id, stored)


def _unpack(plain: bytes, is_stored: bool, key_id: bytes, stored: Callable[[bytes], bytes | None] | None) -> Sealed:
    issued, message_ref, recipient_ref, profile, flags = _HEAD.unpack_from(plain)
    field: bytes | None = plain[_HEAD.size :]
    if is_stored and field is not None:
        if stored is None:
            raise StoreNeeded("the target of this link is in the database, which is not at hand", key_id=key_id.hex())
        field = stored(field)
        if field is None:
            raise BadLink("stored target not found", key_id=key_id.hex())
    assert field is not None
    target, _, other = field.decode().partition("\0")
    direction, known = _flags(flags)
    return Sealed(
        target, _hour(issued), other or None, message_ref, recipient_ref, profile, direction, known, key_id, is_stored
    )


@lru_cache(maxsize=4096)
def _hour(number: int) -> datetime:
    return datetime.fromtimestamp(min(number, _LAST_HOUR) * 3600, UTC)


@lru_cache(maxsize=4096)
def _flags(field: int) -> tuple[Direction, Flag]:
    return Direction(field & 3) if field & 3 < 3 else Direction.INBOUND, Flag(field & 0b1111100)


def candidates(raw: str) -> list[str]:
    """The tokens that `raw` (a raw path behind ``/u/{host}/``) may hold, shortest first, at most 8.

    Tolerant in what it strips: one layer of percent-encoding, soft line breaks, white space, zero-width characters, and
    whatever a client glued behind the ``x``. It folds no case and repairs nothing.
    """
    if _BODY.match(raw):  # the ordinary case: nothing to strip
        ends = [found.end() for found in _END.finditer(raw)]
        return [raw[:end] for end in ends if end >= _SHORTEST][:MAX_CANDIDATES]
    text = _SOFT_BREAK.sub("\n", unquote_to_bytes(raw).decode("utf-8", "replace"))
    return _stripped_candidates(text)


def _stripped_candidates(text: str) -> list[str]:
    kept: list[str] = []
    ends: list[int] = []
    for character in text:
        after_x = bool(kept) and kept[-1] == "x"
        if character.isspace() or unicodedata.category(character) in ("Cf", "Cc"):
            if after_x:
                ends.append(len(kept))
            continue
        if character not in _ALPHABET:
            if after_x:
                ends.append(len(kept))
            break
        if after_x and character in "-_":
            ends.append(len(kept))
        kept.append(character)
    else:
        if kept and kept[-1] == "x":
            ends.append(len(kept))
    joined = "".join(kept)
    lengths = sorted({end for end in ends if end >= _SHORTEST})[:MAX_CANDIDATES]
    return [joined[:end] for end in lengths]


def open_path(
    path: str, keyset: Keyset, stored: Callable[[bytes], bytes | None] | None = None
) -> tuple[Sealed, str, str]:
    """Open what stands behind ``/u/`` or ``/p/`` in a raw path: ``{host}/{token}`` and anything glued to it.

    Returns the seal, the host part and the exact token. Raises BadLink, StoreNeeded.
    """
    failure: BadLink | None = None
    host, slash, rest = path.partition("/")
    if rest[:1] in _VERSIONS and rest[-1:] == "x":  # nearly always: the token and nothing else
        try:
            return _open_body(rest[0], rest[1:-1], host, keyset, stored), host, rest
        except BadLink as error:
            failure = error
    host = unquote_to_bytes(host).decode("utf-8", "replace")
    if not slash or (host != "-" and not _HOST_PART.match(host)):
        raise BadLink("not a token")
    for token in candidates(rest):
        try:
            return open_token(token, host, keyset, stored), host, token
        except StoreNeeded:
            raise
        except BadLink as error:
            failure = error
    raise failure or BadLink("not a token")


def recipient_ref(address: str, keyset: Keyset) -> bytes:
    """8 bytes that stand for a recipient: the same for every spelling that mail treats as the same."""
    return hmac.digest(keyset.ref_key, b"recipient\0" + normal_address(address).encode(), "sha256")[:8]


def normal_address(address: str) -> str:
    """NFC, lower case, domain as A-label."""
    folded = unicodedata.normalize("NFC", address.strip()).lower()
    local, at, domain = folded.rpartition("@")
    if not at:
        return folded
    return f"{local}@{ascii_host(domain) or domain}"


def message_ref(raw: bytes, keyset: Keyset) -> bytes:
    """8 bytes that stand for a message: of its raw bytes; of a bare body, of its message id or else its bytes."""
    return hmac.digest(keyset.ref_key, b"message\0" + hashlib.sha256(raw).digest(), "sha256")[:8]


def seal_blob(data: bytes, purpose: str, keyset: Keyset) -> str:
    """Seal bytes for a purpose of our own (``restore``), apart from links: base64url of kid, SIV, ciphertext."""
    key = keyset.primary
    cipher = _cipher(key.secret, purpose, keyset.deployment, keyset.tenant)
    body = key.id + cipher.encrypt(data, [f"toc-{purpose}".encode(), b"1", key.id])
    return urlsafe_b64encode(body).rstrip(b"=").decode("ascii")


def open_blob(text: str, purpose: str, keyset: Keyset) -> bytes:
    """What `seal_blob` sealed. Raises BadLink for anything else."""
    if not _BODY.match(text) or len(text) % 4 == 1:
        raise BadLink("not a sealed field")
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    key = keyset.usable(raw[:4])
    if key is None:
        raise BadLink("unknown key", key_id=raw[:4].hex())
    try:
        cipher = _cipher(key.secret, purpose, keyset.deployment, keyset.tenant)
        return cipher.decrypt(raw[4:], [f"toc-{purpose}".encode(), b"1", key.id])
    except (InvalidTag, ValueError):
        raise BadLink("forged or damaged") from None


def nonce_key(keyset: Keyset) -> bytes:
    """Key of the stateless nonces on pages: from the key that never rotates, so that a rotation voids no open page."""
    info = f"toc/nonce/1/{keyset.deployment}/{keyset.tenant}".encode("ascii")
    return HKDF(SHA256(), 32, None, info).derive(keyset.ref_key)

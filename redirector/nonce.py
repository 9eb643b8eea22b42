"""The stateless nonce of a page's buttons: good on every worker, for ten minutes, and for one link only. Pure.

base64url( expiry u32, level u8, action u8, click id 16, HMAC-SHA256[:16] over all of it and the token )
"""

from __future__ import annotations

import binascii
import hmac
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from toc.policy import Action
from toc.verdict import Level

_BODY = struct.Struct(">IBB16s")
_MAC = 16
_LENGTH = -(-(_BODY.size + _MAC) * 4 // 3)


@dataclass(frozen=True, slots=True)
class Nonce:
    """What a page was shown for. `group` is the id that its click and the ones from its buttons share.

    expired: it is ours, but its time is over: good for nothing but a fresh page
    """

    level: Level
    action: Action
    group: str
    expired: bool = False


def make(key: bytes, token: str, nonce: Nonce, *, now: float, seconds: int) -> str:
    """The text for the hidden field; `now` in seconds since 1970."""
    body = _BODY.pack(int(now) + seconds, nonce.level, nonce.action, bytes.fromhex(nonce.group))
    return urlsafe_b64encode(body + _mac(key, token, body)).rstrip(b"=").decode()


def check(key: bytes, token: str, text: str, *, now: float) -> Nonce | None:
    """The nonce if we made it for this token, else None."""
    if len(text) != _LENGTH or not text.isascii():
        return None
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        expiry, level, action, group = _BODY.unpack_from(raw)
    except (binascii.Error, struct.error):
        return None
    if urlsafe_b64encode(raw).rstrip(b"=").decode() != text:  # base64 has several spellings of one value; one is ours
        return None
    body = raw[: _BODY.size]
    if not hmac.compare_digest(_mac(key, token, body), raw[_BODY.size :]):
        return None
    return Nonce(Level(level), Action(action), group.hex(), expired=expiry < now)


def _mac(key: bytes, token: str, body: bytes) -> bytes:
    return hmac.digest(key, token.encode() + b"\0" + body, "sha256")[:_MAC]

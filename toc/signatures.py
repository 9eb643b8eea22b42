"""Signatures around the edit: what DKIM and ARC said of a mail as it came, and the seal or signature of what leaves. Pure.

Knows RFC 6376 (DKIM), 8617 (ARC) and 8601 (Authentication-Results) by way of dkimpy. Asks no DNS: `questions` says which names
are needed, and `check` takes the answers. Key and time are handed in. Hostile mail is bounded before dkimpy sees it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import dkim
import dkim.util
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rewriter.milter.authentication import Checked
from rewriter.milter.changes import Field, split
from toc.errors import ConfigError

MAX_SIGNATURES = 5
"""DKIM signatures looked at, from the top: each costs a look-up and a hash of the whole body (RFC 6376, 8.4)."""

MAX_FIELD = 4_096
"""Octets of a signature field. A signature of an 8,192-bit key takes 1,368; dkimpy's checks are quadratic in blanks."""

MAX_RECORD = 2_048
"""Octets of a key record: a 4,096-bit key takes 736. A longer one could hold numbers that take minutes to raise."""

MAX_NAMES = 24
"""Names asked for one mail: signatures, and an ARC chain of eleven that changes its signer at each step."""

MAX_CHAIN = 50
"""RFC 8617, 4.2.1. Each set costs a hash of the whole body."""

MAX_BLANKS = 100_000_000
"""Steps over runs of blanks: dkimpy's relaxed body takes the square of a run's length, 36 seconds for one of 80,000."""

MIN_BITS = 1024
"""RFC 8301, 3.2: verifiers must take keys from 1,024 bits on and refuse shorter ones."""

_QUIET = logging.getLogger("toc.signatures.dkimpy")
_QUIET.disabled = True  # what it would say stands in the results

_BLANKS = re.compile(rb"[ \t]{64}[ \t]*+")
_NAME = re.compile(rb"[A-Za-z0-9._-]{1,253}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9._@+-]+\Z")

Records = Mapping[bytes, bytes | None]
"""DNS name with its last dot → the text there, None where there is none. A name that is missing could not be asked."""


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs. `key` is PEM; `authserv_id` names us in Authentication-Results, and ARC takes its results from there."""

    authserv_id: str
    domain: str
    selector: str
    key: bytes
    arc: bool


def signing(authserv_id: str, domain: str, selector: str, key: bytes, *, arc: bool) -> Signing:
    """Raises ConfigError at a key that dkimpy cannot sign with."""
    try:
        found = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"[signatures] key: no PEM key without a passphrase: {error}") from None
    if not isinstance(found, RSAPrivateKey) or found.key_size < MIN_BITS:
        raise ConfigError(f"[signatures] key: an RSA key of at least {MIN_BITS} bits is needed")
    return Signing(authserv_id, domain, selector, key, arc)


def questions(raw: bytes) -> tuple[bytes, ...]:
    """The names of the keys that `check` will want, each once, `MAX_NAMES` at most."""
    fields, _ = split(raw)
    names: dict[bytes, None] = {}
    signatures = [field for field in fields if field.key == b"dkim-signature"][:MAX_SIGNATURES]
    chain = [field for field in fields if field.key in (b"arc-message-signature", b"arc-seal")]
    for field in (*signatures, *chain):
        name = _key_name(field.value)
        if name is not None:
            names[name] = None
    return tuple(names)[:MAX_NAMES]


def _key_name(value: bytes) -> bytes | None:
    tags = _tags(value)
    selector, domain = tags.get(b"s", b""), tags.get(b"d", b"")
    if not _NAME.match(selector) or not _NAME.match(domain):
        return None
    return selector + b"._domainkey." + domain + b"."


def _tags(value: bytes) -> dict[bytes, bytes]:
    if len(value) > MAX_FIELD:
        return {}
    try:
        found: dict[bytes, bytes] = dkim.util.parse_tag_value(value)
    except dkim.util.InvalidTagValueList:
        return {}
    return found


def check(raw: bytes, records: Records, authserv_id: str) -> Checked:
    """Verify every signature and the chain. Never raises for what stands in a mail."""
    fields, _ = split(raw)
    if _costs_too_much(raw):
        signed = any(field.key == b"dkim-signature" for field in fields)
        results, chain = ["dkim=policy"] if signed else [], None
    else:
        results, chain = list(_dkim_results(raw, fields, records)), _chain_result(raw, fields, records)
    if chain:
        results.append(f"arc={chain}")
    value = f" {authserv_id};\r\n\t" + ";\r\n\t".join(results or ["dkim=none"])
    return Checked(Field(b"Authentication-Results", value.encode("ascii")), sealable=chain is not None)


def _costs_too_much(raw: bytes) -> bool:
    return sum((run.end() - run.start()) ** 2 for run in _BLANKS.finditer(raw)) > MAX_BLANKS


def _dkim_results(raw: bytes, fields: list[Field], records: Records) -> Iterator[str]:
    signatures = [field for field in fields if field.key == b"dkim-signature"][:MAX_SIGNATURES]
    for number, field in enumerate(signatures):
        tags = _tags(field.value)
        name = _key_name(field.value)
        if name is None:
            yield "dkim=permerror"
            continue
        properties = {"d": tags[b"d"], "s": tags[b"s"], "b": re.sub(rb"\s", b"", tags.get(b"b", b""))[:8]}
        shown = "".join(f" header.{key}={_value(value)}" for key, value in properties.items() if value)
        found = _dkim_result(raw, number, name, records)
        if found == "pass" and (tags[b"a"] == b"rsa-sha1" or b"l" in tags):
            found = "policy"  # RFC 8301, 3.1: not SHA-1. RFC 6376, 8.2: with l= anybody can add to the body
        yield f"dkim={found}{shown}"


def _dkim_result(raw: bytes, number: int, name: bytes, records: Records) -> str:
    """One of RFC 8601, 2.7.1."""
    if name not in records:
        return "temperror"
    record = records[name]
    if not record or len(record) > MAX_RECORD:
        return "permerror"
    verifier = dkim.DKIM(raw, logger=_QUIET, minkey=MIN_BITS)
    try:
        verifier.verify_headerprep(number)
        _, bits, kind, _ = dkim.evaluate_pk(name, record)
        if kind == b"rsa" and bits < MIN_BITS:
            return "policy"
        return "pass" if verifier.verify(number, dnsfunc=lambda _name, timeout=0: record) else "fail"
    except dkim.NaClNotFoundError:
        return "neutral"  # Ed25519 is not read here; such mails bear an RSA signature, too (RFC 8463, 5)
    except dkim.ValidationError as error:
        return "fail" if str(error).startswith("body hash mismatch") else "permerror"
    except Exception:  # dkimpy raises whatever a broken field makes it raise
        return "permerror"


def _chain_result(raw: bytes, fields: list[Field], records: Records) -> str | None:
    """``pass`` or ``fail`` (RFC 8617, 4.4), empty without a chain, None where it could not be told."""
    chain = [field for field in fields if field.key in dkim.ARC.ARC_HEADERS]
    if not chain:
        return ""
    if any(len(field.value) > MAX_FIELD for field in chain if field.key != b"arc-authentication-results"):
        return "fail"
    wanted = {name for field in chain if field.key != b"arc-authentication-results" if (name := _key_name(field.value))}
    if len(wanted) > MAX_NAMES or sum(field.key == b"arc-seal" for field in chain) > MAX_CHAIN:
        return "fail"
    if not wanted <= records.keys():
        return None
    usable = {name: record for name, record in records.items() if record and len(record) <= MAX_RECORD}
    try:
        verifier = dkim.ARC(raw, logger=_QUIET, minkey=MIN_BITS)
        found, _, _ = verifier.verify(dnsfunc=lambda name, timeout=0: usable.get(name))
    except Exception:  # as above
        return "fail"
    return "pass" if found == dkim.CV_Pass else "fail"


def _value(value: bytes) -> str:
    """RFC 8601's pvalue: a token, else a quoted string."""
    text = value.decode("ascii", "replace")
    return text if _TOKEN.match(text) else '"' + re.sub(r"[^ !#-\[\]-~]", "_", text) + '"'


def seal(message: bytes, by: Signing, now: int) -> tuple[Field, ...]:
    """The fields to put on top of `message`, from above. `now`: seconds since 1970. Raises dkim.DKIMException.

    ARC: none where `message` bears no results of ours, or where a former chain was not judged. None, too, for a message whose
    blanks would take minutes.
    """
    if _costs_too_much(message):
        return ()
    identity = (by.selector.encode(), by.domain.encode(), by.key)
    if by.arc:
        sealer = dkim.ARC(message, logger=_QUIET)
        lines = sealer.sign(*identity, by.authserv_id.encode(), timestamp=now)
    else:
        lines = [dkim.DKIM(message, logger=_QUIET).sign(*identity, canonicalize=(b"relaxed", b"relaxed"))]
    return tuple(field for line in lines for field in split(bytes(line).rstrip(b"\r\n") + b"\r\n\r\n")[0])

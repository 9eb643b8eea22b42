"""What the operator may choose about rewriting, and the limits. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Bare(StrEnum):
    """Which URLs without a scheme (``example.com/path``) count as links in text."""

    OFF = "off"
    PATH = "path"  # only with a path
    ALL = "all"


class OnUnscannable(StrEnum):
    """What happens to a part that we could not read to the end."""

    NEUTRALISE = "neutralise"
    HOLD = "hold"
    TEMPFAIL = "tempfail"
    PASS = "pass"  # noqa: S105 - passes the mail on


@dataclass(frozen=True, slots=True)
class Options:
    """Choices and limits of one rewriting.

    bare:            URLs without a scheme
    on_unscannable:  see `OnUnscannable`
    keep_pgp:        a rule names this sender: PGP-signed parts stay as they are
    keep_patches:    a rule names this sender: patch and PEM text stays as it is
    trust_roots:     DER certificates to which an S/MIME signature must verify to be kept
    now:             when certificates must be valid; None: no signature verifies
    max_message:     bytes of a message
    max_parts:       MIME parts of a message
    max_depth:       nesting of parts
    """

    bare: Bare = Bare.PATH
    on_unscannable: OnUnscannable = OnUnscannable.NEUTRALISE
    keep_pgp: bool = False
    keep_patches: bool = False
    trust_roots: tuple[bytes, ...] = ()
    now: datetime | None = None
    max_message: int = 100_000_000
    max_parts: int = 1000
    max_depth: int = 50

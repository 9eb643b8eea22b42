"""What is known about a URL at one moment. Pure values and their one combination; knows no list and no policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import NamedTuple


class Level(IntEnum):
    """Ordered from harmless to deadly: a higher level never has a milder action."""

    SAFE = 0
    UNTESTED = 1
    SUSPICIOUS = 2
    HIGHLY_SUSPICIOUS = 3
    DANGEROUS = 4

    @property
    def code(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, code: str) -> Level:
        return cls[code.upper()]


class ThreatType(StrEnum):
    """What a source says a URL is. A source's own word that the tables do not know becomes `OTHER`."""

    PHISHING = "phishing"
    MALWARE = "malware"
    C2 = "c2"  # command and control
    SCAM = "scam"
    SPAM = "spam"
    UNWANTED = "unwanted"
    ABUSED = "abused"  # a legitimate site that was broken into
    SUSPICIOUS_OBJECT = "suspicious_object"
    OTHER = "other"


class MatchKind(StrEnum):
    """What a hit of a source means for the level."""

    THREAT = "threat"  # raises the level to `Match.level`
    APPROVED = "approved"  # an approved entry: beats signs, never a threat
    OVERRIDE = "override"  # an approval with owner and expiry that beats threats too
    LOGGED = "logged"  # an object with action log: recorded, level unchanged


@dataclass(frozen=True, slots=True)
class Match:
    """One source's hit.

    source:     name of the list, service or ``objects``
    generation: id of the list generation, or of the object
    entry:      the entry that matched, as its source spells it
    threat:     what the source says it is
    level:      what a threat match raises the verdict to
    form:       which form of the URL matched: ``url``, ``expression``, ``host``, ``ip``, ``layer:<vendor>``,
                ``other_reading``
    kind:       threat, approved, override or logged
    line:       of the list, from 1; 0 where the source has no lines
    """

    source: str
    generation: str
    entry: str
    threat: ThreatType
    level: Level
    form: str
    kind: MatchKind = MatchKind.THREAT
    line: int = 0


@dataclass(frozen=True, slots=True)
class Sign:
    """A hint that we computed ourselves. `points` come from the one table in `reputation.signs`."""

    code: str
    points: int
    detail: str = ""


class Verdict(NamedTuple):
    """Level, and everything that explains it.

    silent:   sources that did not answer (never loaded, past their deadline, broken)
    required: those of `silent` that the operator requires
    approved: an approved entry or an override matched
    forms:    the URL that was judged; every form of it that is looked up: `reputation.forms.Forms.names`
    familiar: the host is well known here or everywhere, which cancelled the signs
    consulted: the local sources that answered, with their generations
    """

    level: Level
    as_of: datetime
    matches: tuple[Match, ...] = ()
    signs: tuple[Sign, ...] = ()
    silent: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    approved: bool = False
    forms: tuple[str, ...] = ()
    familiar: bool = False
    consulted: tuple[tuple[str, str], ...] = ()


SUSPICIOUS_POINTS = 60
HIGHLY_SUSPICIOUS_POINTS = 100


def conclude(
    *,
    as_of: datetime,
    matches: tuple[Match, ...] = (),
    signs: tuple[Sign, ...] = (),
    silent: tuple[str, ...] = (),
    required: tuple[str, ...] = (),
    forms: tuple[str, ...] = (),
    familiar: bool = False,
    consulted: tuple[tuple[str, str], ...] = (),
) -> Verdict:
    """The one way from evidence to a verdict.

    An override beats everything; a threat beats an approval; an approval beats signs; a familiar host cancels signs.
    One more threat match, sign or silence never makes the level lower.
    """
    if not matches:
        level = Level.UNTESTED if familiar or not signs else _level_of(sum(sign.points for sign in signs))
        return Verdict(level, as_of, (), signs, silent, required, False, forms, familiar, consulted)
    kinds = {match.kind for match in matches}
    override = MatchKind.OVERRIDE in kinds
    approved = override or MatchKind.APPROVED in kinds
    threats = [match.level for match in matches if match.kind is MatchKind.THREAT]
    points = 0 if familiar else sum(sign.points for sign in signs)
    if override:
        level = Level.SAFE
    elif threats:
        level = max(threats)
        if not approved:
            level = max(level, _level_of(points))
    elif approved:
        level = Level.SAFE
    else:
        level = _level_of(points)
    return Verdict(level, as_of, matches, signs, silent, required, approved, forms, familiar, consulted)


def _level_of(points: int) -> Level:
    if points >= HIGHLY_SUSPICIOUS_POINTS:
        return Level.HIGHLY_SUSPICIOUS
    if points >= SUSPICIOUS_POINTS:
        return Level.SUSPICIOUS
    return Level.UNTESTED

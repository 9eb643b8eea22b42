"""What shall happen: profiles, ordered rules, and the one decision of a click. Pure; knows no list, no mail parsing.

rules:    facts of a mail, then the target's host  →  profile, scope, exemption   (at rewriting)
profile:  level  →  action                                                        (at the click, as it stands now)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import NamedTuple

from toc.token import Direction, Sealed, normal_address
from toc.verdict import Level, MatchKind, Verdict

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Action(IntEnum):
    """Ordered from mild to strict."""

    ALLOW = 0
    WARN = 1
    BLOCK = 2

    @property
    def code(self) -> str:
        return self.name.lower()


class Scope(StrEnum):
    """Which links of a mail are rewritten (docs/policy.md)."""

    ALL = "all"
    SMART = "smart"  # all but safe ones; safe ones too on shared hosting and shorteners
    UNTESTED = "untested"  # all but safe ones
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Profile:
    """What each level leads to.

    number:       what stands in the seal; never reused for another profile
    actions:      one per level, never falling from safe to dangerous
    unchecked:    the least strict action where a required source was silent
    internal:     scope of internal mail
    max_age:      links older than this get a warning; None: a link never expires
    max_networks: a link clicked from more networks than this gets a warning; 0: never
    """

    name: str
    number: int
    actions: tuple[Action, Action, Action, Action, Action]
    unchecked: Action = Action.WARN
    internal: Scope = Scope.NONE
    max_age: timedelta | None = None
    max_networks: int = 0

    @property
    def is_plain(self) -> bool:
        """Nothing but the level counts."""
        return self.max_age is None and not self.max_networks

    def action(self, level: Level) -> Action:
        return self.actions[level]


DEFAULT = Profile("default", 0, (Action.ALLOW, Action.ALLOW, Action.WARN, Action.BLOCK, Action.BLOCK))
STRICT = Profile("strict", 1, (Action.ALLOW, Action.WARN, Action.BLOCK, Action.BLOCK, Action.BLOCK), internal=Scope.ALL)
FIRST_OWN_NUMBER = 16
"""Numbers below are ours."""


@dataclass(frozen=True, slots=True)
class Mail:
    """The facts about a mail that rules look at."""

    direction: Direction = Direction.INBOUND
    sender: str = ""
    recipients: tuple[str, ...] = ()
    client: str = ""
    authenticated: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the policy: conditions that must all hold (an empty one always does), and what follows.

    senders, recipients: ``user@example.com`` (exact), or ``example.com`` (the domain and its sub-domains, by label).
        `recipients` holds only if every recipient of the mail is named.
    clients: networks of the delivering host
    domains: the link's target lies in one of these, by label
    """

    name: str
    directions: frozenset[Direction] = frozenset()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    clients: tuple[Network, ...] = ()
    authenticated: bool | None = None
    domains: tuple[str, ...] = ()
    profile: Profile | None = None
    scope: Scope | None = None
    exempt: bool = False
    keep_pgp: bool = False
    keep_patches: bool = False

    def takes(self, mail: Mail) -> bool:
        """Whether the conditions on the mail hold; `domains` is looked at per link."""
        return (
            (not self.directions or mail.direction in self.directions)
            and (not self.senders or _address_in(mail.sender, self.senders))
            and (
                not self.recipients
                or (bool(mail.recipients) and all(_address_in(r, self.recipients) for r in mail.recipients))
            )
            and (not self.clients or _client_in(mail.client, self.clients))
            and (self.authenticated is None or self.authenticated == mail.authenticated)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """All profiles and rules. `version` names the content and goes into every click record."""

    rules: tuple[Rule, ...] = ()
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {"default": DEFAULT, "strict": STRICT})
    default: Profile = DEFAULT
    version: str = ""

    def numbered(self, number: int) -> Profile:
        """The profile that a seal names, as it stands now; a removed one counts as the default."""
        for profile in self.profiles.values():
            if profile.number == number:
                return profile
        return self.default


@dataclass(frozen=True, slots=True)
class Treatment:
    """What rules say about a link of a mail, and which rule said it."""

    profile: Profile
    scope: Scope
    exempt: bool
    rule: str


class Decision(NamedTuple):
    action: Action
    reasons: tuple[str, ...]


def mail_rules(policy: Policy, mail: Mail) -> tuple[Rule, ...]:
    """The rules that may take links of this mail, in order."""
    return tuple(rule for rule in policy.rules if rule.takes(mail))


def treatment(policy: Policy, rules: Sequence[Rule], mail: Mail, host: str) -> Treatment:
    """First match wins. `rules` are those of `mail_rules`; `host` is the target's ASCII host."""
    rule = next((rule for rule in rules if not rule.domains or _host_in(host, rule.domains)), None)
    profile = (rule and rule.profile) or policy.default
    scope = profile.internal if mail.direction is Direction.INTERNAL else Scope.ALL
    if mail.direction is Direction.OUTBOUND:
        scope = Scope.NONE  # outbound mail is restored, never sealed
    if rule is None:
        return Treatment(profile, scope, False, "")
    return Treatment(profile, rule.scope or scope, rule.exempt, rule.name)


def exemptions(rules: Sequence[Rule]) -> tuple[bool, bool]:
    """(keep PGP-signed parts, keep patches): what the first rule without a target condition says of the whole mail."""
    rule = next((rule for rule in rules if not rule.domains), None)
    return (rule.keep_pgp, rule.keep_patches) if rule else (False, False)


def decide(sealed: Sealed, verdict: Verdict, profile: Profile, *, now: datetime, networks: int = 0) -> Decision:
    """The one decision of a click. Total over levels, silences and approvals.

    networks: from how many networks this link was clicked so far
    """
    if not (verdict.matches or verdict.signs or verdict.approved or verdict.required) and profile.is_plain:
        return _PLAIN[profile.actions[verdict.level], verdict.level]
    action = profile.action(verdict.level)
    reasons = list(_reasons(verdict))
    if verdict.required and not verdict.approved:
        action = max(action, profile.unchecked)
        reasons.append("source_silent")
    if profile.max_age is not None and now - sealed.issued > profile.max_age:
        action = max(action, Action.WARN)
        reasons.append("link_old")
    if profile.max_networks and networks > profile.max_networks:
        action = max(action, Action.WARN)
        reasons.append("fan_out")
    return Decision(action, tuple(dict.fromkeys(reasons)))


_PLAIN = {(action, level): Decision(action, (level.code,)) for action in Action for level in Level}
"""Where there is nothing to explain beside the level: made once, as that is nearly every click."""


def _reasons(verdict: Verdict) -> list[str]:
    """Reason codes, the weightiest first; never empty."""
    threats = sorted((m for m in verdict.matches if m.kind is MatchKind.THREAT), key=lambda m: -m.level)
    reasons = [match.threat.value for match in threats]
    if verdict.approved:
        reasons.append("approved")
    if verdict.level > Level.UNTESTED or not verdict.approved:
        reasons += [sign.code for sign in sorted(verdict.signs, key=lambda s: -s.points)]
    return reasons or [verdict.level.code]


def _address_in(address: str, patterns: Sequence[str]) -> bool:
    normal = normal_address(address)
    domain = normal.rpartition("@")[2]
    return any(normal == pattern if "@" in pattern else _is_within(domain, pattern) for pattern in patterns)


def _host_in(host: str, domains: Sequence[str]) -> bool:
    return any(_is_within(host, domain) for domain in domains)


def _is_within(host: str, domain: str) -> bool:
    """By label: ``a.example.com`` lies in ``example.com``, ``notexample.com`` doesn't."""
    host = host.rstrip(".")
    return host == domain or host.endswith("." + domain)


def _client_in(client: str, networks: Sequence[Network]) -> bool:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)

"""Verdict and decision. Invariants: `decide` is total and monotone; the first match wins; a broken rule is refused."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from toc import policy, startup
from toc.errors import PolicyError
from toc.policy import DEFAULT, STRICT, Action, Mail, Profile, Scope, decide, mail_rules, treatment
from toc.policy_file import read_policy
from toc.token import Direction, Sealed
from toc.verdict import Level, Match, MatchKind, Sign, ThreatType, Verdict, conclude

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SEALED = Sealed("https://e.example/", NOW)


def _match(kind: MatchKind, level: Level) -> Match:
    return Match("list", "g1", "e.example", ThreatType.PHISHING, level, "host", kind)


THREATS = [(), *[(_match(MatchKind.THREAT, level),) for level in list(Level)[2:]]]
APPROVALS = [(), (_match(MatchKind.APPROVED, Level.SAFE),), (_match(MatchKind.OVERRIDE, Level.SAFE),)]
LOGGED = [(), (_match(MatchKind.LOGGED, Level.UNTESTED),)]
POINTS = [0, 10, 59, 60, 99, 100, 200]
SILENCES = [((), ()), (("a",), ()), (("a", "b"), ("b",))]
PROFILES = [
    Profile("p", 16, actions, unchecked)
    for actions in itertools.combinations_with_replacement(Action, 5)
    for unchecked in Action
]


def _verdict(threat=(), approval=(), logged=(), points=0, silence=((), ()), familiar=False) -> Verdict:
    signs = (Sign("s", points),) if points else ()
    return conclude(
        as_of=NOW,
        matches=(*threat, *approval, *logged),
        signs=signs,
        silent=silence[0],
        required=silence[1],
        familiar=familiar,
    )


ALL = list(itertools.product(THREATS, APPROVALS, LOGGED, POINTS, SILENCES, (False, True)))


def test_every_combination_has_a_decision_with_a_reason() -> None:
    """Level × action table × silent source × approval × sign total, enumerated."""
    for combination in ALL:
        verdict = _verdict(*combination)
        for profile in PROFILES:
            decision = decide(SEALED, verdict, profile, now=NOW)
            assert decision.action in Action
            assert decision.reasons
            expected = profile.actions[verdict.level]
            if verdict.required and not verdict.approved:
                expected = max(expected, profile.unchecked)
            assert decision.action is expected


def _action(threat, points, silence, approval, logged, profile, familiar) -> Action:
    verdict = _verdict(threat, approval, logged, points, silence, familiar)
    return decide(SEALED, verdict, profile, now=NOW).action


def test_one_more_threat_sign_or_silence_is_never_milder() -> None:
    for threat, approval, logged, points, silence, familiar in ALL:
        for profile in PROFILES:
            rest = (approval, logged, profile, familiar)
            before = _action(threat, points, silence, *rest)
            assert all(_action((*threat, *more), points, silence, *rest) >= before for more in THREATS)
            assert all(_action(threat, more, silence, *rest) >= before for more in POINTS if more >= points)
            assert _action(threat, points, (("a", "b", "c"), (*silence[1], "c")), *rest) >= before


def test_actions_never_fall_with_the_level() -> None:
    for profile in (DEFAULT, STRICT, *PROFILES):
        actions = [profile.action(level) for level in Level]
        assert actions == sorted(actions)


@pytest.mark.parametrize(
    ("level", "default", "strict"),
    [
        (Level.SAFE, "allow", "allow"),
        (Level.UNTESTED, "allow", "warn"),
        (Level.SUSPICIOUS, "warn", "block"),
        (Level.HIGHLY_SUSPICIOUS, "block", "block"),
        (Level.DANGEROUS, "block", "block"),
    ],
)
def test_the_shipped_profiles(level: Level, default: str, strict: str) -> None:
    assert (DEFAULT.action(level).code, STRICT.action(level).code) == (default, strict)


def test_approved_beats_signs_but_no_threat_and_an_override_beats_both() -> None:
    threat, approved, override = THREATS[-1], APPROVALS[1], APPROVALS[2]
    assert _verdict(approval=approved, points=200).level is Level.SAFE
    assert _verdict(threat, approved).level is Level.DANGEROUS
    assert _verdict(threat, override).level is Level.SAFE


def test_a_familiar_host_cancels_signs_only() -> None:
    assert _verdict(points=200, familiar=True).level is Level.UNTESTED
    assert _verdict(THREATS[1], familiar=True).level is Level.SUSPICIOUS


def test_an_old_link_and_a_link_of_many_networks_warn_where_switched_on() -> None:
    profile = Profile("p", 16, DEFAULT.actions, max_age=timedelta(days=30), max_networks=5)
    verdict = _verdict()
    assert decide(SEALED, verdict, profile, now=NOW + timedelta(days=30)).action is Action.ALLOW
    assert decide(SEALED, verdict, profile, now=NOW + timedelta(days=31)).reasons == ("untested", "link_old")
    assert decide(SEALED, verdict, profile, now=NOW, networks=6).action is Action.WARN
    assert decide(SEALED, verdict, DEFAULT, now=NOW + timedelta(days=4000), networks=999).action is Action.ALLOW


def _policy(*rules: dict, profiles: dict | None = None) -> policy.Policy:
    return read_policy(
        [(rule, f"toc.toml line {n}") for n, rule in enumerate(rules, 1)],
        {name: (fields, f"toc.toml [{name}]") for name, fields in (profiles or {}).items()},
    )


@pytest.mark.parametrize(
    ("rule", "mail", "takes"),
    [
        ({"sender": "example.com"}, Mail(sender="a@example.com"), True),
        ({"sender": "example.com"}, Mail(sender="a@mail.example.com"), True),
        ({"sender": "example.com"}, Mail(sender="a@notexample.com"), False),
        ({"sender": "example.com"}, Mail(sender="a@example.com.evil.test"), False),
        ({"sender": "boss@example.com"}, Mail(sender="BOSS@Example.COM"), True),
        ({"sender": "boss@example.com"}, Mail(sender="big.boss@example.com"), False),
        ({"sender": "例え.jp"}, Mail(sender="a@xn--r8jz45g.jp"), True),
        ({"recipient": "example.com"}, Mail(recipients=("a@example.com", "b@example.com")), True),
        ({"recipient": "example.com"}, Mail(recipients=("a@example.com", "b@other.test")), False),
        ({"recipient": "example.com"}, Mail(), False),
        ({"direction": "internal"}, Mail(Direction.INTERNAL), True),
        ({"direction": ["outbound", "internal"]}, Mail(), False),
        ({"client": "192.0.2.0/24"}, Mail(client="192.0.2.9"), True),
        ({"client": "192.0.2.0/24"}, Mail(client="::ffff:192.0.2.9"), True),
        ({"client": "192.0.2.0/24"}, Mail(client="192.0.3.9"), False),
        ({"client": "192.0.2.0/24"}, Mail(client=""), False),
        ({"authenticated": True}, Mail(authenticated=True), True),
        ({"authenticated": True}, Mail(), False),
        ({}, Mail(), True),
    ],
)
def test_conditions_go_by_label_never_by_substring(rule: dict, mail: Mail, takes: bool) -> None:
    assert bool(mail_rules(_policy({"name": "r", **rule}), mail)) is takes


def test_the_first_rule_that_matches_wins() -> None:
    found = _policy(
        {"name": "bank", "domain": "bank.example", "exempt": True},
        {"name": "finance", "recipient": "finance@example.com", "profile": "strict"},
        {"name": "all"},
    )
    mail = Mail(recipients=("finance@example.com",))
    rules = mail_rules(found, mail)
    assert treatment(found, rules, mail, "www.bank.example").rule == "bank"
    assert treatment(found, rules, mail, "bank.example.evil.test").rule == "finance"
    other = Mail(recipients=("x@example.com",))
    assert treatment(found, mail_rules(found, other), other, "e.example").rule == "all"


def test_the_scope_of_each_direction() -> None:
    found = _policy({"name": "strict", "recipient": "s@example.com", "profile": "strict"})

    def scope(direction: Direction, recipient: str = "a@example.com") -> Scope:
        mail = Mail(direction, recipients=(recipient,))
        return treatment(found, mail_rules(found, mail), mail, "e.example").scope

    assert scope(Direction.INBOUND) is Scope.ALL
    assert scope(Direction.INTERNAL) is Scope.NONE
    assert scope(Direction.INTERNAL, "s@example.com") is Scope.ALL
    assert scope(Direction.OUTBOUND) is Scope.NONE


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "needs a name"),
        ({"name": "r", "sneder": "x"}, "no setting 'sneder'"),
        ({"name": "r", "profile": "lax"}, "no profile 'lax'"),
        ({"name": "r", "scope": "some"}, "scope = 'some'"),
        ({"name": "r", "direction": "up"}, "direction = 'up'"),
        ({"name": "r", "domain": "*.example.com"}, "no wildcards"),
        ({"name": "r", "domain": "a b"}, "is not a domain"),
        ({"name": "r", "client": "300.1.1.1"}, "not an address"),
        ({"name": "r", "sender": []}, "is empty"),
        ({"name": "r", "sender": [1]}, "a text or a list"),
        ({"name": "r", "exempt": "yes"}, "neither true nor false"),
        ({"name": "r", "exempt": True, "sender": "example.com"}, "can be forged"),
    ],
)
def test_a_broken_rule_is_refused_with_its_place(rule: dict, says: str) -> None:
    with pytest.raises(PolicyError, match=says) as error:
        _policy({"name": "fine"}, rule)
    assert "toc.toml line 2" in str(error.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"number": 16, "safe": "block"}, "milder"),
        ({"number": 16, "dangerous": "warn"}, "milder"),
        ({"number": 16, "dangerous": "stop"}, "is none of"),
        ({}, "number must be given"),
        ({"number": 3}, "number must be given"),
        ({"number": 1_000_000}, "number must be given"),
        ({"number": 16, "colour": "red"}, "no setting"),
    ],
)
def test_a_broken_profile_is_refused(fields: dict, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        _policy(profiles={"own": fields})


def test_two_profiles_never_share_a_number() -> None:
    with pytest.raises(PolicyError, match="same number"):
        _policy(profiles={"a": {"number": 20}, "b": {"number": 20}})


def test_the_place_is_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "toc.toml"
    path.write_text(
        '[service]\npublic_url = "https://c.example"\n\n[[policy.rules]]\nname = "a"\n\n[[policy.rules]]\nname = ""\n'
    )
    with pytest.raises(PolicyError, match=r"toc\.toml line 7"):
        startup.read(path, {})

"""Why a click of the past was decided as it was: from what was recorded with it, checked against what still lies here.

    click ─▶ matches, signs, silences ─▶ conclude ─▶ level  ─▶ the policy of that version ─▶ action
                 └─ list generations still on disk: does the entry stand where it was said to stand?

Nothing is asked of anybody, and no list of today is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from reputation.api import MatchAnswer, SignAnswer
from reputation.forms import forms
from reputation.index import Index
from toc import policy_archive
from toc.config import Config
from toc.errors import BadUrl, ListError
from toc.policy import Decision, Policy, decide
from toc.token import Sealed
from toc.url import parse
from toc.verdict import Level, Match, MatchKind, Sign, ThreatType, Verdict, conclude


class ReplayedMatch(MatchAnswer, frozen=True, kw_only=True):
    """`today`: ``stands``, ``gone`` (the generation no longer lies here), ``differs``, or empty where nothing can be checked."""

    today: str


class ReplayAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about the click, and what follows from its evidence now (`agrees`: the same).

    generations: list or ``objects`` → generation that was asked
    policy_kept: the policy of that version lies here, so that the decision could be made again
    """

    id: str
    time: datetime
    url: str
    level: str
    action: str
    reasons: tuple[str, ...]
    profile: str
    policy: str
    policy_kept: bool
    matches: tuple[ReplayedMatch, ...]
    signs: tuple[SignAnswer, ...]
    silent: tuple[str, ...]
    required: tuple[str, ...]
    familiar: bool
    generations: dict[str, str]
    agrees: bool
    differences: tuple[str, ...]


def replay(click: Mapping[str, Any], config: Config) -> ReplayAnswer:
    """`click` as the record shows it (`redirector.clicks.document`)."""
    verdict = verdict_of(click)
    policy = policy_archive.find(config, click["policy"])
    differences = list(_differences(click, verdict, policy))
    matches = tuple(_checked(match, click, config) for match in click["matches"])
    differences += [
        f"{match.source} line {match.line} of generation {match.generation} is not {match.entry}"
        for match in matches
        if match.today == "differs"
    ]
    return ReplayAnswer(
        id=click["id"],
        time=_time(click),
        url=click["url"],
        level=click["level"],
        action=click["action"],
        reasons=tuple(click["reasons"]),
        profile=policy.numbered(click["profile"]).name if policy else str(click["profile"]),
        policy=click["policy"],
        policy_kept=policy is not None,
        matches=matches,
        signs=tuple(SignAnswer(**sign) for sign in click["signs"]),
        silent=tuple(click["silent"]),
        required=tuple(click["required"]),
        familiar=click["familiar"],
        generations=click["generations"],
        agrees=not differences,
        differences=tuple(differences),
    )


def _time(click: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(click["time"])


def verdict_of(click: Mapping[str, Any]) -> Verdict:
    """The verdict that follows from what was recorded with the click."""
    return conclude(
        as_of=_time(click),
        matches=tuple(_match(match) for match in click["matches"]),
        signs=tuple(Sign(**sign) for sign in click["signs"]),
        silent=tuple(click["silent"]),
        required=tuple(click["required"]),
        familiar=click["familiar"],
        consulted=tuple(click["generations"].items()),
    )


def _match(row: Mapping[str, Any]) -> Match:
    words = {"threat": ThreatType(row["threat"]), "level": Level.of(row["level"]), "kind": MatchKind(row["kind"])}
    return Match(**{**row, **words})


def _differences(click: Mapping[str, Any], verdict: Verdict, policy: Policy | None) -> Iterable[str]:
    """What would come out otherwise: a sign that rules or settings changed, or that the record did."""
    if "revoked" in click["reasons"]:
        return  # no verdict was made: the link, its message, its recipient or its key was revoked
    if verdict.level.code != click["level"]:
        yield f"the evidence gives the level {verdict.level.code}, recorded is {click['level']}"
    if policy is None:
        return
    decision = _decision(click, verdict, policy)
    if decision.action.code != click["action"]:
        yield f"the policy gives the action {decision.action.code}, recorded is {click['action']}"
    if set(decision.reasons) != set(click["reasons"]):
        yield f"the policy gives the reasons {', '.join(decision.reasons)}, recorded are {', '.join(click['reasons'])}"


def _decision(click: Mapping[str, Any], verdict: Verdict, policy: Policy) -> Decision:
    profile = policy.numbered(click["profile"])
    # How many networks had clicked by then is not recorded, only whether they were too many.
    networks = profile.max_networks + 1 if "fan_out" in click["reasons"] else 0
    sealed = Sealed(click["url"], datetime.fromisoformat(click["issued"]))
    return decide(sealed, verdict, profile, now=_time(click), networks=networks)


def _checked(row: Mapping[str, Any], click: Mapping[str, Any], config: Config) -> ReplayedMatch:
    return ReplayedMatch(**row, today=_today(row, click, config) if row["line"] else "")


def _today(row: Mapping[str, Any], click: Mapping[str, Any], config: Config) -> str:
    """Whether the generation that is said to hold the entry does."""
    path = config.data_dir / "lists" / row["source"] / f"{row['generation']}.idx"
    try:
        index = Index.open(path)
        found = forms(parse(click["url"]), click["other_reading"])
    except (ListError, BadUrl):
        return "gone"
    hits = [hit for reading in found.readings for hit in index.find(reading)]
    if any((hit.entry, hit.line) == (row["entry"], row["line"]) for hit in hits):
        return "stands"
    # Where only the names of query parameters are recorded, an entry with a query cannot be met again.
    return "" if "?" in click["url"] and not hits else "differs"

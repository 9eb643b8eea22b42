"""A verdict for a person: the evidence, and what would be decided about a click now. For the call and the command."""

from __future__ import annotations

from reputation.api import DecisionAnswer, VerdictAnswer, verdict_answer
from reputation.forms import forms
from toc.knowledge import Knowledge, utc_now
from toc.policy import decide
from toc.sightings import StoreReader
from toc.token import Sealed
from toc.url import parse


async def judged(url: str, knowledge: Knowledge, reader: StoreReader, *, for_peer: bool = False) -> VerdictAnswer:
    """Raises BadUrl for what no browser would visit. `for_peer`: a peer asks, so that no peer is asked in turn."""
    found = parse(url)
    now = utc_now()
    seen = await reader.sighting(found.host)
    verdict = await knowledge.full(found, now, seen=seen, spelt=url, peers=not for_peer)
    profile = knowledge.policy.default
    decision = decide(Sealed(found.href, now), verdict, profile, now=now)
    answer = DecisionAnswer(
        action=decision.action.code,
        reasons=decision.reasons,
        profile=profile.name,
        policy=knowledge.policy.version,
    )
    return verdict_answer(verdict, answer, forms(found))

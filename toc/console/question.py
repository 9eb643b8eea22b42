"""*What would happen to this URL for this recipient?* The verdict now, the rules, the decision: by the very functions."""

from __future__ import annotations

from dataclasses import dataclass

from reputation.api import DecisionAnswer, VerdictAnswer, verdict_answer
from reputation.forms import forms
from toc.console.desk import Desk
from toc.message_search import Found
from toc.policy import Mail, Treatment, decide, mail_rules, treatment
from toc.token import Direction, Sealed
from toc.url import Url


@dataclass(frozen=True, slots=True)
class Question:
    """The answer, with all that it rests on. `treatment`: what the rules say of such a link."""

    url: Url
    answer: VerdictAnswer
    treatment: Treatment


def of_mail(found: Found | None) -> Mail:
    """The facts of a recorded mail that rules look at. Its delivering host is not on record."""
    if found is None:
        return Mail()
    return Mail(Direction[found.direction.upper()], found.sender, found.recipients)


async def asked(desk: Desk, url: Url, mail: Mail, number: int | None = None) -> Question:
    """`number`: the profile of a link that is sealed already; None: the one that the rules give."""
    policy = desk.policy()
    ruled = treatment(policy, mail_rules(policy, mail), mail, url.host)
    profile = ruled.profile if number is None else policy.numbered(number)
    now = desk.clock()
    verdict = await desk.judge(url)
    decision = decide(Sealed(url.href, now), verdict, profile, now=now)
    told = DecisionAnswer(
        action=decision.action.code, reasons=decision.reasons, profile=profile.name, policy=policy.version
    )
    return Question(url, verdict_answer(verdict, told, forms(url)), ruled)

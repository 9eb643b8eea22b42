"""The policy as it stands, to read, and the question what it would do to a URL for a recipient."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from toc.console.answer import page
from toc.console.desk import Desk
from toc.console.question import Question, asked
from toc.console.show import cleaned, refanged
from toc.errors import BadUrl
from toc.policy import Mail
from toc.token import Direction
from toc.url import parse
from toc.verdict import Level

FIELDS = ("url", "recipient", "sender", "direction")


def routes(desk: Desk) -> list[Route]:
    async def show(request: Request) -> Response:
        fields = {name: cleaned(request.query_params.get(name, "")) for name in FIELDS}
        question: Question | None = None
        refused = ""
        if fields["url"]:
            try:
                question = await _ask(desk, fields)
            except BadUrl as error:
                refused = str(error)
        return page(
            desk, request, "policy.html", policy=desk.policy(), levels=list(Level), directions=list(Direction),
            fields=fields, question=question, refused=refused,
        )  # fmt: skip

    return [Route("/policy", show, methods=["GET"])]


async def _ask(desk: Desk, fields: dict[str, str]) -> Question:
    """Raises BadUrl."""
    text = refanged(fields["url"])
    url = parse(text if "://" in text else f"http://{text}")
    known = {direction.name.lower(): direction for direction in Direction}
    mail = Mail(
        direction=known.get(fields["direction"], Direction.INBOUND),
        sender=fields["sender"],
        recipients=(fields["recipient"],) if fields["recipient"] else (),
    )
    return await asked(desk, url, mail)

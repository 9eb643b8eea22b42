"""``toc policy``: which rule takes a mail or a link, and why."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from toc import startup
from toc.commands.options import ConfigOption
from toc.errors import Invalid
from toc.policy import Mail, Rule, mail_rules, treatment
from toc.token import Direction
from toc.url import parse
from toc.verdict import Level

commands = typer.Typer(no_args_is_help=True, help="Explain the policy.")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="policy")


@commands.command()
def explain(
    sender: Annotated[str, typer.Option(help="Sender of the mail.")] = "",
    recipient: Annotated[list[str] | None, typer.Option(help="Recipient; repeatable.")] = None,
    direction: Annotated[str, typer.Option(help="inbound, outbound or internal.")] = "inbound",
    client: Annotated[str, typer.Option(help="Address of the delivering host.")] = "",
    authenticated: Annotated[bool, typer.Option(help="The client logged in.")] = False,
    url: Annotated[str, typer.Option(help="A link of the mail.")] = "",
    as_json: Annotated[bool, typer.Option("--json")] = False,
    config: ConfigOption = None,
) -> None:
    """Say for each rule whether it takes this mail and link, and what follows."""
    policy = startup.read(config).policy
    try:
        way = Direction[direction.upper()]
    except KeyError:
        raise Invalid(f"direction {direction!r} is none of inbound, outbound, internal") from None
    mail = Mail(way, sender, tuple(recipient or ()), client, authenticated)
    host = parse(url).host if url else ""
    how = treatment(policy, mail_rules(policy, mail), mail, host)
    trace = [(rule.name, why(rule, mail, host)) for rule in policy.rules]
    outcome = {
        "rule": how.rule or None,
        "profile": how.profile.name,
        "scope": how.scope.value,
        "exempt": how.exempt,
        "actions": {level.code: how.profile.action(level).code for level in Level},
        "trace": [{"rule": name, "says": text} for name, text in trace],
        "policy_version": policy.version,
    }
    if as_json:
        print(json.dumps(outcome, ensure_ascii=False, indent=2))
        return
    table = Table("rule", "says", box=None)
    for name, text in trace:
        table.add_row(name, text)
    console = Console()
    if trace:
        console.print(table)
    console.print(
        f"rule {how.rule or '(none: defaults)'} → profile {how.profile.name}, scope {how.scope.value}", end=""
    )
    console.print(", exempt: links stay as they are" if how.exempt else "")
    console.print("  ".join(f"{level.code} → {how.profile.action(level).code}" for level in Level))


def why(rule: Rule, mail: Mail, host: str) -> str:
    """Why a rule takes a mail and link, or the first condition that does not hold."""
    conditions = (
        ("direction", Rule("", directions=rule.directions)),
        ("sender", Rule("", senders=rule.senders)),
        ("recipient", Rule("", recipients=rule.recipients)),
        ("client", Rule("", clients=rule.clients)),
        ("authenticated", Rule("", authenticated=rule.authenticated)),
    )
    for name, condition in conditions:
        if not condition.takes(mail):
            return f"no: {name} does not hold"
    if rule.domains and not any(host == domain or host.endswith("." + domain) for domain in rule.domains):
        return "no: the link's domain is not named"
    return "yes: every condition holds"

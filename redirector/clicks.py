"""A click as a value, as a row of the table and as JSON. Pure; knows no connection.

`evidence` is JSON of what the verdict rested on: enough to say later which list generation, entry and policy decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any

import msgspec

from redirector.actor import Actor, ActorKind
from redirector.rate import network_of
from toc.config import ClickSettings
from toc.policy import Action, Decision
from toc.store.schema import clicks, from_micros, to_micros
from toc.token import Sealed
from toc.url import Url
from toc.verdict import Level, Verdict

COLUMNS = tuple(column.name for column in clicks.c if column.name != "seq")


class Event(IntEnum):
    SHOWN = 0
    FORWARDED = 1
    PROCEEDED = 2
    REPORTED = 3

    @property
    def code(self) -> str:
        return self.name.lower()


class Click(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event. `group`: shared by a warning and what followed from its buttons. `policy`: its version. Times in UTC."""

    id: str
    group: str
    time: datetime
    event: Event
    url: Url
    sealed: Sealed
    verdict: Verdict
    decision: Decision
    client: str
    user_agent: str
    actor: Actor
    policy: str


def row(click: Click, settings: ClickSettings) -> tuple[object, ...]:
    """The values of `COLUMNS`."""
    names_only = settings.query == "names"
    sealed, url, actor, client = click.sealed, click.url, click.actor, click.client
    action, reasons = click.decision
    return (
        click.id,
        click.group,
        to_micros(click.time),
        int(click.event),
        int(action),
        int(click.verdict.level),
        f",{','.join(reasons)},",
        without_values(url.href) if names_only else url.href,
        url.host,
        url.domain,
        _evidence(click, names_only),
        sealed.message_ref,
        sealed.recipient_ref,
        client,
        network_of(client),
        click.user_agent,
        int(actor.kind),
        actor.reason,
        sealed.key_id,
        to_micros(sealed.issued),
        sealed.profile,
        click.policy,
    )


_NO_EVIDENCE = "{}"


def _evidence(click: Click, names_only: bool) -> str:
    verdict, other = click.verdict, click.sealed.other
    if not (verdict.matches or verdict.signs or verdict.familiar or other):
        return _evidence_of_nothing(verdict.silent, verdict.required, verdict.consulted)
    found: dict[str, Any] = {}
    if verdict.matches:
        found["matches"] = [
            {
                "source": match.source,
                "generation": match.generation,
                "entry": match.entry,
                "threat": match.threat.value,
                "level": match.level.code,
                "form": match.form,
                "kind": match.kind.value,
                "line": match.line,
            }
            for match in verdict.matches
        ]
    if verdict.signs:
        found["signs"] = [{"code": s.code, "points": s.points, "detail": s.detail} for s in verdict.signs]
    found |= _sources(verdict.silent, verdict.required, verdict.consulted)
    if verdict.familiar:
        found["familiar"] = True
    if other:
        found["other"] = without_values(other) if names_only else other
    return msgspec.json.encode(found).decode()


_Names = tuple[str, ...]
_Generations = tuple[tuple[str, str], ...]


@lru_cache(maxsize=256)
def _evidence_of_nothing(silent: _Names, required: _Names, consulted: _Generations) -> str:
    """The same for nearly every click between two changes of a list."""
    found = _sources(silent, required, consulted)
    return msgspec.json.encode(found).decode() if found else _NO_EVIDENCE


def _sources(silent: _Names, required: _Names, consulted: _Generations) -> dict[str, Any]:
    found: dict[str, Any] = {"silent": silent, "required": required, "generations": dict(consulted)}
    return {name: value for name, value in found.items() if value}


def without_values(url: str) -> str:
    """The URL with the names of its query only: values may be live secrets, such as a password reset's."""
    head, mark, query = url.partition("#")[0].partition("?")
    if not mark:
        return head
    return head + "?" + "&".join(part.partition("=")[0] + ("=" if "=" in part else "") for part in query.split("&"))


@dataclass(frozen=True, slots=True)
class Mail:
    """What is known of the message and the people of a click. `recipients`: one, or all candidates of a shared link."""

    message_id: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    subject: str = ""


_EVENTS = {int(event): event.code for event in Event}
_ACTIONS = {int(action): action.code for action in Action}
_LEVELS = {int(level): level.code for level in Level}
_ACTORS = {int(kind): kind.code for kind in ActorKind}
"""Code numbers of the table. An enum's own look-up costs ten times as much, and an export needs four a row."""


def document(found: Mapping[str, Any], mail: Mail) -> dict[str, Any]:
    """A row of the table as the API and the exports show it. `found`: column → value as the database holds it."""
    evidence = msgspec.json.decode(found["evidence"])
    return {
        "id": found["id"],
        "group": found["grp"],
        "time": _moment(found["time"]),
        "event": _EVENTS[found["event"]],
        "action": _ACTIONS[found["action"]],
        "level": _LEVELS[found["level"]],
        "reasons": [code for code in found["reasons"].split(",") if code],
        "url": found["url"],
        "host": found["host"],
        "domain": found["domain"],
        "matches": evidence.get("matches", []),
        "signs": evidence.get("signs", []),
        "silent": evidence.get("silent", []),
        "required": evidence.get("required", []),
        "familiar": evidence.get("familiar", False),
        "generations": evidence.get("generations", {}),
        "other_reading": evidence.get("other"),
        "message_ref": bytes(found["message_ref"]).hex(),
        "recipient_ref": bytes(found["recipient_ref"]).hex(),
        "message_id": mail.message_id,
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "subject": mail.subject,
        "client": found["client"],
        "user_agent": found["user_agent"],
        "actor": _ACTORS[found["actor"]],
        "actor_reason": found["actor_reason"],
        "key_id": bytes(found["key_id"]).hex(),
        "issued": _moment(found["issued"]),
        "profile": found["profile"],
        "policy": found["policy"],
    }


def _moment(value: int | datetime) -> str:
    moment = from_micros(value) if isinstance(value, int) else value
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

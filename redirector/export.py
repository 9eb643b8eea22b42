"""Clicks in the forms that other systems read. Each mapping is a table; docs/export.md is held against them. Pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from toc.errors import RequestError
from toc.hiding import HIDING, inert

Document = Mapping[str, Any]
Getter = Callable[[Document], Any]


def _key(name: str) -> Getter:
    return lambda click: click[name]


def _joined(name: str) -> Getter:
    return lambda click: "; ".join(click[name])


CSV_COLUMNS: Mapping[str, Getter] = {
    **{name: _key(name) for name in ("id", "group", "time", "event", "action", "level")},
    "reasons": _joined("reasons"),
    **{name: _key(name) for name in ("url", "host", "domain", "message_id", "sender")},
    "recipients": _joined("recipients"),
    **{name: _key(name) for name in ("subject", "client", "user_agent", "actor", "actor_reason")},
    "sources": lambda click: "; ".join(match["source"] for match in click["matches"]),
}

ECS: Mapping[str, Getter] = {
    "@timestamp": _key("time"),
    "event.id": _key("id"),
    "event.kind": lambda _: "event",
    "event.category": lambda _: ["email", "web"],
    "event.action": _key("event"),
    "event.outcome": lambda click: "failure" if click["action"] == "block" else "success",
    "rule.name": _joined("reasons"),
    "url.full": _key("url"),
    "url.domain": _key("host"),
    "url.registered_domain": _key("domain"),
    "email.message_id": _key("message_id"),
    "email.from.address": _key("sender"),
    "email.to.address": _key("recipients"),
    "email.subject": _key("subject"),
    "source.ip": _key("client"),
    "user_agent.original": _key("user_agent"),
    "labels.level": _key("level"),
    "labels.action": _key("action"),
    "labels.actor": _key("actor"),
}

CEF: Mapping[str, Getter] = {
    "rt": lambda click: int(datetime.fromisoformat(click["time"]).timestamp() * 1000),
    "act": _key("action"),
    "outcome": _key("event"),
    "src": _key("client"),
    "suser": _key("sender"),
    "duser": _joined("recipients"),
    "request": _key("url"),
    "dhost": _key("host"),
    "requestClientApplication": _key("user_agent"),
    "externalId": _key("id"),
    "cs1Label": lambda _: "level",
    "cs1": _key("level"),
    "cs2Label": lambda _: "reasons",
    "cs2": _joined("reasons"),
    "cs3Label": lambda _: "messageId",
    "cs3": _key("message_id"),
    "cs4Label": lambda _: "subject",
    "cs4": _key("subject"),
    "cs5Label": lambda _: "actor",
    "cs5": _key("actor"),
    "cs6Label": lambda _: "group",
    "cs6": _key("group"),
}
CEF_SEVERITY: Mapping[str, int] = {
    "safe": 0, "untested": 1, "suspicious": 5, "highly_suspicious": 8, "dangerous": 10,
}  # fmt: skip

ACTION_TYPES: Mapping[tuple[str, str], str] = {
    ("forwarded", "allow"): "ClickAllowed",
    ("proceeded", "allow"): "ClickAllowed",
    ("proceeded", "warn"): "ClickAllowed",
    ("shown", "block"): "ClickBlocked",
    ("shown", "warn"): "ClickBlocked",
    ("shown", "allow"): "UrlErrorPage",
}

URL_CLICK_EVENTS: Mapping[str, Getter] = {
    "Timestamp": _key("time"),
    "Url": _key("url"),
    "ActionType": lambda click: ACTION_TYPES.get((click["event"], click["action"]), "ClickBlockedByTenantPolicy"),
    "AccountUpn": lambda click: click["recipients"][0] if len(click["recipients"]) == 1 else "",
    "Workload": lambda _: "Email",
    "NetworkMessageId": _key("message_id"),
    "ThreatTypes": lambda click: ",".join(match["threat"] for match in click["matches"]),
    "DetectionMethods": lambda click: ",".join(match["source"] for match in click["matches"]),
    "IPAddress": _key("client"),
    "IsClickedThrough": lambda click: click["event"] in ("forwarded", "proceeded"),
    "UrlChain": lambda click: [click["url"]],
    "ReportId": _key("group"),
}
"""Microsoft's UrlClickEvents: one ReportId for a block and the click through it."""

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""What begins a formula; of full width too, which spreadsheets under East Asian settings take for the same."""


def csv_line(values: Sequence[object]) -> str:
    """One line of CSV in which no spreadsheet sees a formula (quotes and a leading apostrophe, as OWASP advises), nothing
    is hidden, and no value breaks the line."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerow(
        [_no_formula(inert(value)) for value in values]
    )
    return out.getvalue()


def _no_formula(text: str) -> str:
    """Blanks before it hide a formula from nobody but us."""
    return "'" + text if text.lstrip().startswith(_FORMULA) else text


def nested(click: Document, mapping: Mapping[str, Getter]) -> dict[str, Any]:
    """``a.b`` → ``{"a": {"b": …}}``."""
    found: dict[str, Any] = {}
    for path, getter in mapping.items():
        *heads, last = path.split(".")
        place = found
        for head in heads:
            place = place.setdefault(head, {})
        place[last] = getter(click)
    return found


def cef_line(click: Document, version: str = "1") -> str:
    """ArcSight Common Event Format: ``\\`` and ``|`` escaped in the header, ``\\`` and ``=`` in values; nothing hidden."""
    head = ["CEF:0", "Time-of-Click", "Time-of-Click", version, click["event"], f"Link {click['event']}"]
    head.append(str(CEF_SEVERITY[click["level"]]))
    shown = "|".join(_cef_head(text) if place else text for place, text in enumerate(head))
    values = ((name, getter(click)) for name, getter in CEF.items())
    return (
        shown + "|" + " ".join(f"{name}={_cef_value(str(value))}" for name, value in values if value not in ("", None))
    )


def _cef_head(text: str) -> str:
    return inert(text).replace("\\", "\\\\").replace("|", "\\|")


def _cef_value(text: str) -> str:
    return inert(text).replace("\\", "\\\\").replace("=", "\\=")


def _json_line(value: object) -> str:
    """Characters that hide, reorder or break lines stand escaped: the value that is read is the same."""
    return HIDING.sub(_escaped, msgspec.json.encode(value).decode()) + "\n"


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2))


FORMATS: Mapping[str, tuple[str, str, Callable[[Document], str]]] = {
    "jsonl": ("application/jsonl", "", _json_line),
    "csv": (
        "text/csv; charset=utf-8",
        csv_line(list(CSV_COLUMNS)),
        lambda click: csv_line([getter(click) for getter in CSV_COLUMNS.values()]),
    ),
    "ecs": ("application/jsonl", "", lambda click: _json_line(nested(click, ECS))),
    "cef": ("text/plain; charset=utf-8", "", lambda click: cef_line(click) + "\n"),
    "urlclickevents": (
        "application/jsonl",
        "",
        lambda click: _json_line({name: getter(click) for name, getter in URL_CLICK_EVENTS.items()}),
    ),
}
"""Name → media type, head, and one click as a line."""


def format_of(name: str) -> tuple[str, str, Callable[[Document], str]]:
    """Raises RequestError."""
    if name not in FORMATS:
        raise RequestError(f"format {name[:20]!r} is none of {', '.join(FORMATS)}")
    return FORMATS[name]

"""docs/export.md is what the exports do: each row of its tables is tried on a click whose every value is another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from redirector import export
from redirector.actor import ActorKind
from redirector.clicks import Event
from toc.policy import Action

PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text()

SAMPLE: dict[str, Any] = {
    "id": "one-id", "group": "one-group", "time": "2026-03-01T12:01:02.345Z", "event": "proceeded", "action": "warn",
    "level": "suspicious", "reasons": ["r1", "r2"], "url": "https://a.b.example/c", "host": "a.b.example",
    "domain": "b.example", "message_id": "<m@x>", "sender": "s@x", "recipients": ["p@x"],
    "subject": "Subject", "client": "192.0.2.1",
    "user_agent": "Agent", "actor": ActorKind.PERSON.code, "actor_reason": "navigation",
    "matches": [{"source": "feed-a", "threat": "phishing"}, {"source": "feed-b", "threat": "malware"}],
}  # fmt: skip


def section(name: str) -> str:
    found = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, name
    return found[1]


def columns(name: str) -> dict[str, str]:
    first_table = re.split(r"^\| (?:level|event) \|", section(name), maxsplit=1, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `([@\w.]+)` \| ([^|]+) \|$", first_table, re.MULTILINE))


def test_every_form_has_its_section() -> None:
    assert re.findall(r"^## (\w+)$", PAGE, re.MULTILINE) == list(export.FORMATS)


@pytest.mark.parametrize(
    ("name", "mapping"),
    [
        ("csv", export.CSV_COLUMNS),
        ("ecs", export.ECS),
        ("cef", export.CEF),
        ("urlclickevents", export.URL_CLICK_EVENTS),
    ],
    ids=str,
)
def test_each_column_is_filled_from_where_the_page_says(name: str, mapping: dict[str, export.Getter]) -> None:
    told = columns(name)
    assert set(told) == set(mapping)
    for column, source in told.items():
        given = mapping[column](SAMPLE)
        if always := re.fullmatch(r"always (.*)", source):
            assert given in (always[1].strip("*"), re.findall(r"\*(\w+)\*", always[1])), column
        elif field := re.match(
            r"`(\w+)`(?:, `; ` between|, a list of one|, where there is one)?(?=: one for|\Z)", source
        ):
            value = SAMPLE[field[1]]
            listed = value if isinstance(value, list) else [value]
            assert given in (value, listed, "; ".join(listed)), column


def test_severities_and_action_types_stand_on_the_page() -> None:
    severities = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|$", section("cef"), re.MULTILINE))
    assert {level: int(severity) for level, severity in severities.items()} == export.CEF_SEVERITY
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| `(\w+)` \|$", section("urlclickevents"), re.MULTILINE)
    told = {(event, action): kind for event, action, kind in rows}
    column = export.URL_CLICK_EVENTS["ActionType"]
    for event in Event:
        for action in Action:
            given = column({"event": event.code, "action": action.code})
            assert given == told.get((event.code, action.code), "ClickBlockedByTenantPolicy")

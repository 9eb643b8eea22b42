"""The docs say what the code does: settings, calls, commands, reason codes, signs, exports."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main

from redirector import click_filters
from reputation.signs import POINTS
from tests.docs.settings_page import page
from toc import cli, errors, operations
from toc.console import rules as console_rules
from toc.verdict import Level, ThreatType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _codes(text: str) -> set[str]:
    return set(re.findall(r"`([a-z0-9_]+)`", text))


def test_the_settings_page_is_what_the_code_says() -> None:
    assert (DOCS / "settings.md").read_text() == page(), "run scripts/docs"


def test_every_call_stands_on_its_page_with_its_scope() -> None:
    rows = re.findall(r"^\| `(\w+) (/[^`]*)` \| (\w+) \|", (DOCS / "api.md").read_text(), re.MULTILINE)
    assert set(rows) == {
        (row.method, row.path, row.scope.value if row.scope else "open") for row in operations.OPERATIONS
    }


def test_every_route_of_the_console_stands_on_its_page_with_its_role() -> None:
    rows = re.findall(r"^\| `(\w+) (/[^`]*)` \| (\w+) \|", (DOCS / "console.md").read_text(), re.MULTILINE)
    assert rows == [(rule.method, rule.path, rule.role or "open") for rule in console_rules.RULES]


def test_every_filter_stands_on_the_page_of_calls() -> None:
    assert set(click_filters.FILTERS) <= _codes((DOCS / "api.md").read_text())


def test_every_reason_that_the_code_gives_is_on_the_closed_list() -> None:
    page_codes = _codes((DOCS / "reasons.md").read_text())
    source = "".join(path.read_text() for package in ("rewriter", "toc") for path in (ROOT / package).rglob("*.py"))
    given = set(re.findall(r"(?:Keep|Neutralise)\(\s*\"([a-z_]+)\"", source))
    given |= set(re.findall(r"notes\.append\(\"([a-z_]+)\"", source))
    assert given <= page_codes
    assert {threat.value for threat in ThreatType} <= page_codes


def test_every_error_is_on_the_list() -> None:
    def tree(kind: type) -> set[str]:
        return {kind.reason, *(code for child in kind.__subclasses__() for code in tree(child))}

    assert tree(errors.TocError) <= _codes((DOCS / "reasons.md").read_text())


def test_signs_and_levels_stand_in_the_verdict_page() -> None:
    text = (DOCS / "verdict.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (\d+) \|", text, re.MULTILINE))
    assert {code: int(points) for code, points in rows.items()} == dict(POINTS)
    assert all(f"`{level.code}`" in text for level in Level)


def test_every_command_is_in_the_changelog_or_readme() -> None:
    known = typer.main.get_command(cli.app).commands
    text = (ROOT / "README.md").read_text() + (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in known if not re.search(rf"`(?:toc )?{name}\b", text)] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page_path in (*DOCS.glob("*.md"), ROOT / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", page_path.read_text()):
            assert (page_path.parent / target).exists(), f"{page_path.name}: {target}"

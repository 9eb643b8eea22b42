"""The console's catalogues.

Invariants: every language has every text, none fuzzy, with its placeholders; the collected texts are those of templates and
words; every code that a page can show has a word.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from redirector.actor import ActorKind
from redirector.clicks import Event
from reputation.objects import ObjectType
from toc.accounts import Role
from toc.console.render import LANGUAGES, load_catalogue
from toc.console.reports import OUTCOMES
from toc.console.words import CODES, REFUSALS
from toc.keys import State
from toc.policy import Action
from toc.token import Direction
from toc.verdict import Level, MatchKind

ROOT = Path(__file__).parents[3]
FOREIGN = [language for language in LANGUAGES if language != "en"]


def catalogue(language: str) -> Catalog:
    with (files("toc.console") / "locale" / language / "LC_MESSAGES" / "console.po").open("rb") as file:
        return read_po(file, locale=language)


def collected() -> set[str]:
    """Texts of the code as it stands now."""
    methods = [("words.py", "python"), ("templates/**.html", "jinja2")]
    options = {"templates/**.html": {"trimmed": "true"}}
    found = extract_from_dir(
        ROOT / "toc" / "console", methods, options, keywords={"mark": None, "_": None, "gettext": None}
    )
    return {message for _, _, message, _, _ in found}


@pytest.mark.parametrize("language", FOREIGN)
def test_nothing_is_missing_or_fuzzy(language: str) -> None:
    messages = {message.id: message for message in catalogue(language) if message.id}
    assert set(messages) == collected(), "run scripts/locale extract"
    assert [text for text, message in messages.items() if not message.string or message.fuzzy] == []
    assert not catalogue(language).obsolete


def test_collected_texts_are_those_of_the_code() -> None:
    with (files("toc.console") / "locale" / "console.pot").open("rb") as file:
        assert {message.id for message in read_po(file) if message.id} == collected()
    assert len(collected()) > 250


@pytest.mark.parametrize("language", FOREIGN)
def test_placeholders_survive(language: str) -> None:
    for english, foreign in load_catalogue(language).items():
        assert sorted(re.findall(r"%\(\w+\)s", english)) == sorted(re.findall(r"%\(\w+\)s", foreign)), english


def test_japanese_is_written_in_its_script() -> None:
    script = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")
    assert [text for text in load_catalogue("ja").values() if not script.search(text)] == []


def test_every_code_has_a_word() -> None:
    codes = {item.code for kind in (Action, Level, Event, ActorKind) for item in kind}
    codes |= {*Role, *ObjectType, *OUTCOMES, *MatchKind, *(state.value for state in State)}
    codes |= {direction.name.lower() for direction in Direction}
    codes |= {"rewritten", "kept", "neutralised", "not_coverable"}
    assert codes <= set(CODES)


def test_every_refusal_has_a_title() -> None:
    assert {"unauthenticated", "rate_limited", "forbidden", "not_found", "bad_request", "invalid", "conflict"} <= set(
        REFUSALS
    )

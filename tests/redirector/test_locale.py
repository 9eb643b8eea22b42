"""The catalogues.

Invariants: every language has every text, none fuzzy, none left in English, with its placeholders; the collected texts are
those of the code; every page, label and reason code that the code can produce has words.
"""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po

from redirector.negotiate import LANGUAGES
from redirector.pages import KINDS, load_catalogue
from redirector.words import LABELS, REASONS, TEXTS, TITLES, UNKNOWN_TARGET, Page
from reputation.signs import POINTS
from toc.verdict import Level, ThreatType

FOREIGN = [language for language in LANGUAGES if language != "en"]
ENGLISH = [*TITLES.values(), *TEXTS.values(), UNKNOWN_TARGET, *REASONS.values(), *LABELS.values()]


def catalogue(language: str) -> Catalog:
    name = language.replace("-", "_")
    with (files("redirector") / "locale" / name / "LC_MESSAGES" / "redirector.po").open("rb") as file:
        return read_po(file, locale=name)


@pytest.mark.parametrize("language", FOREIGN)
def test_nothing_is_missing_or_fuzzy(language: str) -> None:
    messages = {message.id: message for message in catalogue(language) if message.id}
    assert set(messages) == set(ENGLISH)
    assert [text for text, message in messages.items() if not message.string or message.fuzzy] == []
    assert [text for text, message in messages.items() if message.string == text] == []
    assert not catalogue(language).obsolete


@pytest.mark.parametrize("language", FOREIGN)
def test_placeholders_survive(language: str) -> None:
    for english, foreign in load_catalogue(language).items():
        assert sorted(re.findall(r"\{\w*\}", english)) == sorted(re.findall(r"\{\w*\}", foreign)), english


@pytest.mark.parametrize("language", FOREIGN)
def test_two_texts_never_share_one_translation(language: str) -> None:
    """Else a line was pasted twice."""
    words = list(load_catalogue(language).values())
    assert sorted(text for text in set(words) if words.count(text) > 1) == []


SCRIPTS = {
    "ja": r"[\u3040-\u30ff\u4e00-\u9fff]",
    "zh-Hans": r"[\u4e00-\u9fff]",
    "zh-Hant": r"[\u4e00-\u9fff]",
    "ko": r"[\uac00-\ud7a3]",
    "ar": r"[\u0600-\u06ff]",
}


@pytest.mark.parametrize("language", sorted(SCRIPTS))
def test_written_in_its_script(language: str) -> None:
    script = re.compile(SCRIPTS[language])
    assert [text for text in load_catalogue(language).values() if not script.search(text)] == []


def test_chinese_is_not_mixed_up() -> None:
    """Characters that only one of the two ways of writing has."""
    assert not re.search("[連結網這為們請]", "".join(load_catalogue("zh-Hans").values()))
    assert not re.search("[链网这为们请]", "".join(load_catalogue("zh-Hant").values()))


def test_collected_texts_are_those_of_the_code() -> None:
    """`scripts/locale extract` was run after the last change of words."""
    with (files("redirector") / "locale" / "redirector.pot").open("rb") as file:
        assert [message.id for message in read_po(file) if message.id] == list(dict.fromkeys(ENGLISH))


def test_every_code_has_words() -> None:
    codes = {*ThreatType, *POINTS, *(level.code for level in Level)}
    codes |= {"approved", "source_silent", "link_old", "fan_out", "record_lost", "revoked", "store_needed"}
    assert codes <= set(REASONS)


def test_every_page_has_words_and_a_kind() -> None:
    assert set(Page) == set(TITLES) == set(TEXTS) == set(KINDS)
    assert all(kind.proceed in {"", *LABELS} for kind in KINDS.values())
    assert all("{host}" in LABELS[kind.proceed] for kind in KINDS.values() if kind.proceed)

"""Which language a page speaks.

Invariants: the answer is always one of ours, whatever the header; the highest weight wins, then the first; a tag with the
weight 0 is never answered with its language.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.negotiate import LANGUAGES, chosen_language, negotiate


@pytest.mark.parametrize(
    ("header", "language", "why"),
    [
        ("", "en", "no header"),
        ("*", "en", "anything will do"),
        ("de", "de", "plain"),
        ("DE-AT", "de", "tags know no case; the region does not matter"),
        ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr", "the example of MDN"),
        ("en;q=0.5, ja;q=0.9", "ja", "weight before place"),
        ("es, pt", "es", "place where weights are equal"),
        ("nl, sv;q=0.9", "en", "none of ours"),
        ("nl, ko;q=0.1", "ko", "ours, though last"),
        ("de;q=0, fr;q=0.1", "fr", "weight 0: not acceptable (RFC 9110 section 12.4.2)"),
        ("de;q=0", "en", "as above, and nothing else"),
        ("de;q=0.000", "en", "as above, in full"),
        ("de;q=2, fr;q=0.1", "fr", "a weight above 1 is none"),
        ("de;q=x, fr", "fr", "a weight that is none"),
        ("de ; q=0.2 , fr ; Q=0.3", "fr", "white space, capital Q"),
        ("zh", "zh-Hans", "Chinese alone"),
        ("zh-CN,zh;q=0.9", "zh-Hans", "mainland"),
        ("zh-SG", "zh-Hans", "Singapore"),
        ("zh-TW", "zh-Hant", "Taiwan"),
        ("zh-HK", "zh-Hant", "Hong Kong"),
        ("zh-MO", "zh-Hant", "Macau"),
        ("zh-Hant", "zh-Hant", "script"),
        ("zh-Hans-HK", "zh-Hans", "the script counts before the region"),
        ("zh-Hant-CN", "zh-Hant", "the script counts before the region"),
        ("yue-HK", "zh-Hant", "Cantonese"),
        ("cmn-Hans-CN", "zh-Hans", "Mandarin"),
        ("zh_TW", "zh-Hant", "underscore, as some programs write it"),
        ("ar-EG", "ar", "Egypt"),
        ("pt-BR", "pt", "Brazil"),
        ("iw", "en", "no prefix of ours"),
        ("den", "en", "begins like ours, but is another language"),
        (",,;;,q=1", "en", "no tag at all"),
        ("nl," * 400 + "de", "en", "what stands behind 500 characters is not read"),
    ],
)
def test_table(header: str, language: str, why: str) -> None:
    assert negotiate(header) == language, why


@given(st.text())
def test_never_raises_and_always_ours(header: str) -> None:
    assert negotiate(header) in LANGUAGES
    assert chosen_language(header) in {None, *LANGUAGES}


@given(st.sampled_from(sorted(LANGUAGES)), st.sampled_from(sorted(LANGUAGES)))
def test_weights_decide(first: str, second: str) -> None:
    assert negotiate(f"{first};q=0.3, {second};q=0.7") == second


@pytest.mark.parametrize(
    ("query", "language"),
    [
        ("lang=de", "de"),
        ("a=1&lang=zh-Hant&b", "zh-Hant"),
        ("LANG=de", None),
        ("lang=ZH-hans", "zh-Hans"),
        ("lang=xx", None),
        ("slang=de", None),
        ("lang=de<script>", None),
        ("", None),
    ],
)
def test_switch(query: str, language: str | None) -> None:
    assert chosen_language(query) == language

"""The nonce of a page's buttons.

Invariants: it opens for the token and key that it was made with, tells level, action and click, and that its time is
over; no other text, however close, opens.
"""

from __future__ import annotations

import string
from base64 import urlsafe_b64decode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.nonce import Nonce, check, make
from toc.policy import Action
from toc.verdict import Level

KEY, TOKEN, NOW = b"k" * 32, "1abcdefx", 1_800_000_000.0
NONCE = Nonce(Level.SUSPICIOUS, Action.WARN, "00112233445566778899aabbccddeeff")
TEXT = make(KEY, TOKEN, NONCE, now=NOW, seconds=600)
ALPHABET = string.ascii_letters + string.digits + "-_"


@given(
    st.sampled_from(Level),
    st.sampled_from(Action),
    st.binary(min_size=16, max_size=16),
    st.text(ALPHABET, min_size=1),
    st.integers(0, 600),
)
def test_it_opens_to_what_was_put_in(level: Level, action: Action, group: bytes, token: str, later: int) -> None:
    nonce = Nonce(level, action, group.hex())
    assert check(KEY, token, make(KEY, token, nonce, now=NOW, seconds=600), now=NOW + later) == nonce


def test_it_ends() -> None:
    assert check(KEY, TOKEN, TEXT, now=NOW + 600) == NONCE
    assert check(KEY, TOKEN, TEXT, now=NOW + 601) == replace(NONCE, expired=True)


@pytest.mark.parametrize(
    ("key", "token"),
    [(b"l" * 32, TOKEN), (KEY, "1abcdeFx"), (KEY, TOKEN + "\0"), (KEY, ""), (b"", TOKEN)],
    ids=["another key", "another link", "a longer link", "no link", "no key"],
)
def test_it_is_bound_to_its_key_and_link(key: bytes, token: str) -> None:
    assert check(key, token, TEXT, now=NOW) is None


def test_no_changed_text_opens() -> None:
    """Every change of every character: the last one has two bits to spare, and one spelling is ours alone."""
    others = [TEXT[:place] + char + TEXT[place + 1 :] for place in range(len(TEXT)) for char in ALPHABET + "+/=%\0é"]
    assert [text for text in others if text != TEXT and check(KEY, TOKEN, text, now=NOW) is not None] == []


@pytest.mark.parametrize("text", ["", TEXT[:-1], TEXT + "A", TEXT + "=", " " + TEXT, TEXT + "\n", "A" * len(TEXT), "é"])
def test_no_other_length_opens(text: str) -> None:
    assert check(KEY, TOKEN, text, now=NOW) is None


@given(st.text(max_size=60) | st.text(ALPHABET, min_size=len(TEXT), max_size=len(TEXT)))
def test_any_text_is_refused_without_a_surprise(text: str) -> None:
    assert check(KEY, TOKEN, text, now=NOW) is None


def test_it_holds_nothing_that_tells_who_clicked() -> None:
    """Expiry, level, action, click id, and the MAC: 38 bytes."""
    assert len(urlsafe_b64decode(TEXT + "=")) == 38

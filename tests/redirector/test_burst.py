"""Bursts over the links of one message.

Invariants: only different links of one message to one recipient from one network within seconds are a burst; memory is
bounded, whatever comes.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector import burst
from redirector.burst import LINKS, SECONDS, Bursts

NET, MESSAGE, RECIPIENT = "203.0.113.0/24", b"message1", b"reader_1"


def click(bursts: Bursts, number: int, now: float, **more: object) -> bool:
    made = {"network": NET, "message": MESSAGE, "recipient": RECIPIENT, "target": f"https://x.example/{number}", **more}
    return bursts.add(now=now, **made)


def test_many_links_at_once_are_a_burst_from_the_sixth_on() -> None:
    bursts = Bursts()
    assert [click(bursts, number, number * 0.1) for number in range(9)] == [False] * (LINKS - 1) + [True] * 4


@pytest.mark.parametrize(
    ("changes", "gap", "why"),
    [
        (lambda n: {"target": "https://x.example/"}, 0.1, "one link again and again: somebody who waits, or reloads"),
        (lambda n: {"target": f"https://x.example/{n % 3}"}, 0.1, "a few links again and again"),
        (lambda n: {}, SECONDS / 4, "a person who reads on the way"),
        (lambda n: {"network": f"198.51.{n}.0/24"}, 0.1, "readers elsewhere"),
        (lambda n: {"recipient": b"%8d" % n}, 0.1, "an office that opens a newsletter"),
        (lambda n: {"message": b"%8d" % n}, 0.1, "somebody who works off a full mailbox"),
        (lambda n: {"message": bytes(8)}, 0.1, "links whose message is not known"),
    ],
)
def test_no_burst(changes, gap: float, why: str) -> None:
    bursts = Bursts()
    assert not any(click(bursts, number, number * gap, **changes(number)) for number in range(40)), why


def test_a_burst_is_over_when_it_is_over() -> None:
    bursts = Bursts()
    assert [click(bursts, number, 0.0) for number in range(LINKS)][-1]
    assert not click(bursts, 50, SECONDS + 0.1)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 2)), max_size=60))
def test_a_burst_has_that_many_links_in_that_time(clicks: list[tuple[int, float]]) -> None:
    bursts, now = Bursts(), 0.0
    seen: list[tuple[float, int]] = []
    for number, gap in clicks:
        now += gap
        seen.append((now, number))
        expected = len({which for when, which in seen if now - when < SECONDS}) >= LINKS
        assert click(bursts, number, now) is expected


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(burst, "MAX_KEYS", 50)
    bursts = Bursts()
    for number in range(2000):
        click(bursts, number, 0.0, network=f"10.0.{number}.0/24")
        click(bursts, number, 0.0)
    assert len(bursts._recent) <= 50
    assert max(map(len, bursts._recent.values())) <= LINKS

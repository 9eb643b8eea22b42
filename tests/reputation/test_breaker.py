"""Live sources never hurt a click. Invariants: no answer, a late one or a wrong one makes the source silent and named, and
nothing else; one question at a time for one key; a broken source is left alone, for longer each time; the memory is bounded.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.breaker import FLYING, Breaker, Cache, Found, LiveSource, Patience, SourceError, ask_all
from reputation.forms import Reading, forms
from toc.url import parse
from toc.verdict import Level, Match, ThreatType

PATIENCE = Patience(failures=3, base=10.0, cap=100.0, limit=0.5)
EVIL = forms(parse("http://evil.example/")).readings
OTHER = forms(parse("http://other.example/")).readings


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A source of this test's own: it answers what it is told to, when `gate` opens, and remembers what was asked."""

    name = "told"
    required = False

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.gate = asyncio.Event()
        self.gate.set()
        self.closed = False
        self.asked: list[tuple[str, ...]] = []

    def keys(self, reading: Reading) -> tuple[str, ...]:
        return tuple(dict.fromkeys((reading.host, reading.url.domain)))

    async def close(self) -> None:
        self.closed = True

    async def fetch(self, keys: tuple[str, ...]) -> dict[str, Found]:
        self.asked.append(keys)
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return dict.fromkeys(keys, self.answer) if isinstance(self.answer, Found) else {}


def match(entry: str = "evil.example") -> Match:
    return Match("told", "1", entry, ThreatType.PHISHING, Level.DANGEROUS, "host")


def source(wire: Told, clock: Clock, **more) -> LiveSource:
    return LiveSource(wire, clock=clock, rng=random.Random(1), patience=PATIENCE, **more)


async def test_an_answer_is_kept_as_long_as_it_says():
    clock, wire = Clock(), Told(Found((match(),), 60.0))
    live = source(wire, clock)
    assert await live.ask(EVIL) == ([match()], True)
    clock.now += 59.9
    assert await live.ask(EVIL) == ([match()], True)
    assert len(wire.asked) == 1
    clock.now += 0.2
    await live.ask(EVIL)
    assert len(wire.asked) == 2


async def test_how_it_fares_is_known():
    clock, wire = Clock(), Told(Found((match(),), 10.0))
    live = source(wire, clock)
    assert (live.answers, live.silences, live.answered_at, live.failing_since) == (0, 0, None, None)
    await live.ask(EVIL)
    clock.now = 1005.0
    await live.ask(EVIL)
    assert (live.answers, live.silences, live.answered_at) == (2, 0, 1000.0), (
        "an answer of the cache is one, not of the source"
    )
    wire.answer = SourceError("no")
    for clock.now in (1020.0, 1030.0, 1040.0):
        assert not live.breaker.tripped
        await live.ask(EVIL)
    assert live.breaker.tripped
    assert (live.answers, live.silences, live.failing_since, live.failed_at) == (2, 3, 1020.0, 1040.0)
    wire.answer, clock.now = Found((match(),), 10.0), 1040.0 + PATIENCE.base * 2
    assert live.breaker.tripped, "its pause is over, but nothing has succeeded yet"
    await live.ask(EVIL)
    assert (live.breaker.tripped, live.failing_since, live.answered_at) == (False, None, clock.now)
    assert (live.last_error, live.failed_at) == ("no", 1040.0), "what was, stays on record"


async def test_many_clicks_ask_once_and_all_get_the_answer():
    wire = Told(Found((match(),)))
    wire.gate.clear()
    live = source(wire, Clock())
    clicks = [asyncio.create_task(live.ask(EVIL, 5.0)) for _ in range(100)]
    await asyncio.sleep(0)
    wire.gate.set()
    assert await asyncio.gather(*clicks) == [([match()], True)] * 100
    assert wire.asked == [("evil.example",)]


async def test_a_late_answer_serves_the_next_click():
    wire = Told(Found((match(),)))
    wire.gate.clear()
    live = source(wire, Clock())
    assert await live.ask(EVIL, 0.01) == ([], False)
    wire.gate.set()
    await asyncio.sleep(0.01)
    assert await live.ask(EVIL, 0.01) == ([match()], True)
    assert len(wire.asked) == 1


async def test_an_answer_that_is_neither_yes_nor_no_is_silence():
    live = source(Told(Found((), 60.0, unsure=True)), Clock())
    assert await live.ask(EVIL) == ([], False)


async def test_an_answer_that_leaves_a_key_out_is_silence():
    assert await source(Told(None), Clock()).ask(EVIL) == ([], False)


@pytest.mark.parametrize("error", [SourceError("no"), ValueError("x"), OSError("x"), RecursionError(), KeyError(1)])
async def test_whatever_goes_wrong_is_silence_and_opens_the_breaker(error):
    clock, wire = Clock(), Told(error)
    live = source(wire, clock)
    for _ in range(PATIENCE.failures):
        assert await live.ask(EVIL) == ([], False)
    assert live.breaker.is_open(clock.now)
    assert live.last_error
    await live.ask(EVIL)
    assert len(wire.asked) == PATIENCE.failures  # left alone now


async def test_a_source_that_says_stay_away_is_left_alone_at_once():
    clock, wire = Clock(), Told(SourceError("too many questions", hard=True))
    live = source(wire, clock)
    await live.ask(EVIL)
    await live.ask(EVIL)
    assert len(wire.asked) == 1


async def test_after_the_pause_one_may_try_and_success_closes():
    clock, wire = Clock(), Told(SourceError("no", hard=True))
    live = source(wire, clock)
    await live.ask(EVIL)
    clock.now += 2 * PATIENCE.base
    wire.answer = Found((match(),))
    wire.gate.clear()
    first = asyncio.create_task(live.ask(EVIL, 5.0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert await live.ask(OTHER, 0.01) == ([], False)  # the others wait for the probe
    wire.gate.set()
    assert await first == ([match()], True)
    assert await live.ask(OTHER, 5.0) == ([match()], True)


async def test_a_question_without_answer_ends_by_itself_and_counts():
    wire = Told(None)
    wire.gate.clear()
    live = LiveSource(wire, clock=Clock(), rng=random.Random(1), patience=Patience(failures=1, limit=0.01))
    await live.ask(EVIL, 5.0)
    assert live.breaker.is_open(1000.0)
    assert "0.01 s" in live.last_error


async def test_a_source_that_hangs_gathers_no_tasks_without_end():
    wire = Told(None)
    wire.gate.clear()
    live = source(wire, Clock())
    urls = [parse(f"http://h{number}.example/") for number in range(2 * FLYING)]
    await asyncio.gather(*(live.ask(forms(url).readings, 0.01) for url in urls))
    assert len(wire.asked) <= FLYING
    await live.close()
    assert wire.closed


async def test_every_reading_is_asked_for_and_the_match_says_which():
    wire = Told(Found((match(),)))
    wrapped = parse(
        "https://eur01.safelinks.protection.outlook.com/?url=http%3A%2F%2Fevil.example%2F&data=1&reserved=0"
    )
    found, answered = await source(wire, Clock()).ask(forms(wrapped, "http://other.example/").readings)
    assert wire.asked == [("eur01.safelinks.protection.outlook.com", "outlook.com", "evil.example", "other.example")]
    assert {item.form for item in found} == {"host", "layer:safelinks", "other_reading"}
    assert answered


async def test_who_goes_away_leaves_the_question_to_the_others():
    wire = Told(Found((match(),)))
    wire.gate.clear()
    live = source(wire, Clock())
    first = asyncio.create_task(live.ask(EVIL, 5.0))
    second = asyncio.create_task(live.ask(EVIL, 5.0))
    await asyncio.sleep(0)
    first.cancel()
    wire.gate.set()
    assert await second == ([match()], True)


async def test_all_are_asked_at_once_and_the_silent_are_named():
    good, bad = Told(Found((match(),))), Told(SourceError("no"))
    bad.name = "bad"
    clock = Clock()
    found = await ask_all([source(good, clock), source(bad, clock)], EVIL, deadline=5.0)
    assert found == ([match()], ("bad",))


def test_openings_last_twice_as_long_each_time_up_to_the_cap():
    clock, breaker = 0.0, Breaker(PATIENCE, random.Random(1))
    pauses = []
    for _ in range(8):
        breaker.failed(clock, hard=True)
        start = clock
        while breaker.is_open(clock):
            clock += 0.25
        pauses.append(clock - start)
    for number, pause in enumerate(pauses):
        low = min(2**number * PATIENCE.base, PATIENCE.cap)
        assert low <= pause <= min(2 * low, PATIENCE.cap) + 0.25


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 50)), max_size=60))
def test_a_breaker_lets_nobody_through_while_open_and_opens_only_after_failures(steps):
    now, breaker, failures = 0.0, Breaker(PATIENCE, random.Random(1)), 0
    for good, wait in steps:
        now += wait
        was_open = breaker.is_open(now)
        assert not (was_open and breaker.may_ask(now))
        if was_open:
            continue
        if good:
            breaker.succeeded()
            failures = 0
            assert not breaker.is_open(now)
        else:
            breaker.failed(now)
            failures += 1
            assert not breaker.is_open(now) or failures >= PATIENCE.failures


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 5), st.floats(0.1, 10)), max_size=60))
def test_the_cache_is_bounded_and_gives_only_what_is_fresh(steps):
    now, cache, until = 0.0, Cache(3), {}
    for key, wait, seconds in steps:
        now += wait
        found = cache.get(key, now)
        assert found is None or until[key] > now
        cache.put(key, Found((), seconds), now)
        until[key] = now + seconds
        assert cache.get(key, now) is not None
        assert len(cache) <= 3

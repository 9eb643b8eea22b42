"""The numbers of the overview, and what the pages need from outside.

Invariants: bins lie without gap or overlap, begin where the viewer's hours and days begin, also across a clock change, and the
last holds now; every click is counted once, reports never; the totals of both databases agree with the clicks that were put in.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.clicks import Event
from redirector.journal import NAMES, Journal, Marks
from redirector.spool import Spool, generation_of, read
from tests.redirector.databases import database, postgres_server
from tests.redirector.record_data import click, put
from toc.console import figures, health
from toc.console.figures import SPANS, Fate, Span
from toc.policy import Action
from toc.store.engine import open_async

__all__ = ["database", "postgres_server"]

DAY = SPANS[2]
ZONES = ("UTC", "Asia/Tokyo", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(ZONES),
    st.sampled_from(SPANS),
)
def test_bins(now: datetime, zone: str, span: Span) -> None:
    starts = figures.edges(span, now, ZoneInfo(zone))
    assert len(starts) == span.bins
    assert starts[-1] <= now
    assert now - starts[-1] < timedelta(hours=span.hours + 1)
    lengths = {later - earlier for earlier, later in pairwise(starts)}
    if span is DAY:
        assert lengths <= {timedelta(hours=hours) for hours in (23, 23.5, 24, 24.5, 25)}
        local = {start.astimezone(ZoneInfo(zone)).time() for start in starts}
        assert {time.hour for time in local} == {0}
    else:
        assert lengths == {timedelta(hours=span.hours)}
    assert all(start.timestamp() % 900 == 0 for start in starts), "each begins with a grain of the query"


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("Europe/Berlin", "2026-10-25", 25), ("Europe/Berlin", "2026-03-29", 23), ("Asia/Tokyo", "2026-10-25", 24)],
)
def test_a_day_with_a_clock_change_is_one_bin(zone: str, day: str, hours: int) -> None:
    now = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) + timedelta(days=1, hours=12)
    before, last = figures.edges(DAY, now.astimezone(UTC), ZoneInfo(zone))[-2:]
    assert last - before == timedelta(hours=hours)


FATES = {
    (Event.FORWARDED, Action.ALLOW): Fate.FORWARDED,
    (Event.SHOWN, Action.WARN): Fate.WARNED,
    (Event.SHOWN, Action.BLOCK): Fate.BLOCKED,
    (Event.PROCEEDED, Action.WARN): Fate.PROCEEDED,
    (Event.REPORTED, Action.BLOCK): None,
}


async def test_everything_is_counted_once(database: str) -> None:
    now = datetime(2026, 3, 1, 15, 59, tzinfo=UTC)
    kinds = list(FATES) * 20
    made = [
        click(number, f"https://h{number % 3}.example/", event=event, action=action, time=now - timedelta(minutes=number),
              recipient_ref=b"rrrrrrr%d" % (number % 2))
        for number, (event, action) in enumerate(kinds)
    ]  # fmt: skip
    await put(database, *made)
    engine = open_async(database)
    starts = figures.edges(SPANS[0], now, ZoneInfo("Asia/Kathmandu"))
    async with engine.connect() as connection:
        bins = await figures.over_time(connection, starts)
        hosts = await figures.blocked_hosts(connection, starts[0])
        people = await figures.endangered(connection, starts[0])
    await engine.dispose()
    for fate in Fate:
        assert sum(each.counts[fate] for each in bins) == 20
    for each, following in pairwise([*bins, figures.Bin(now + timedelta(minutes=1), {})]):
        inside = [one for one in made if each.start <= one.time < following.start]
        for fate in Fate:
            assert each.counts[fate] == sum(FATES[one.event, one.decision.action] is fate for one in inside)
    blocked = [one for one in made if (one.event, one.decision.action) == (Event.SHOWN, Action.BLOCK)]
    assert {each.host: each.count for each in hosts} == {
        host: sum(one.url.host == host for one in blocked) for host in ("h0.example", "h1.example", "h2.example")
    }
    assert sum(each.count for each in hosts) == 20
    assert (sum(each.warned for each in people), sum(each.proceeded for each in people)) == (20, 20)
    assert sum(each.blocked for each in people) == 20


def test_what_waits_in_the_spools_is_counted(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool" / "clicks-1.spool", 1 << 16)
    assert health.waiting(tmp_path).calm
    spool.append([msgspec.msgpack.encode([number]) for number in range(7)])
    (tmp_path / "spool" / "receipts").mkdir()
    (tmp_path / "spool" / "receipts" / "000-a").touch()
    (tmp_path / "spool" / "receipts" / ".aside").touch()
    found = health.waiting(tmp_path)
    assert (found.clicks, found.receipts, found.refused) == (7, 1, False)
    spool.close()


def test_what_the_journal_has_shipped_does_not_wait(tmp_path: Path) -> None:
    """Its space is given back later, so the file alone does not tell."""
    journal = Journal(tmp_path / "spool", 1 << 16)
    journal.append([msgspec.msgpack.encode([number]) for number in range(7)])
    path = tmp_path / "spool" / NAMES[0]
    with path.open("rb") as file:
        places = [place for _, place in read(file.fileno(), generation_of(file.fileno()))]
        Marks().write(path, generation_of(file.fileno()), places[4])
    assert health.waiting(tmp_path).clicks == 2
    journal.close()


def test_scripts_of_others_are_what_was_fetched() -> None:
    """`scripts/vendor` wrote down version and sums; each comes with its licence."""
    folder = files("toc.console") / "static" / "vendor"
    known = json.loads((folder / "vendored.json").read_text())
    named = {name for package in known.values() for name in package["sha256"]}
    assert named | {"vendored.json"} == {path.name for path in folder.iterdir()}
    for package in known.values():
        assert any(name.endswith(".LICENSE") for name in package["sha256"])
        for name, digest in package["sha256"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name

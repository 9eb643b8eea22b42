"""Rules of alerts and how alerts are gathered. Invariants: what fits is told, at once the first time; nothing that fits is
ever dropped, only told together; an alert holds no live link and no query value."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toc.alerts import Cause, Gatherer, document, fits, groups_of, rules_of, text, title
from toc.config import AlertRule, AlertSettings

NOW = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
BOARD = {"board": ("Ceo@Example.COM", "@board.example")}


def cause(place: int = 1, host: str = "evil.example", **more) -> Cause:
    found = Cause(place, "click", NOW + timedelta(seconds=place), f"{place:032x}", f"https://{host}/a?token=s3cret#x", host,
                  "shown", "block", ("phishing",), ("a@example.com",))  # fmt: skip
    return replace(found, **more)


FITS = {
    "a rule without conditions takes every click": (AlertRule(name="r"), {}, True),
    "but no conviction": (AlertRule(name="r"), {"on": "conviction"}, False),
    "its threat": (AlertRule(name="r", threats=("c2", "phishing")), {}, True),
    "another threat": (AlertRule(name="r", threats=("c2",)), {}, False),
    "no threat at all": (AlertRule(name="r", threats=("c2",)), {"threats": ()}, False),
    "its event": (AlertRule(name="r", event="shown"), {}, True),
    "another event": (AlertRule(name="r", event="proceeded"), {}, False),
    "another action": (AlertRule(name="r", action="warn"), {}, False),
    "a member of the group, in any spelling": (AlertRule(name="r", group="board"), {"people": ("ceo@EXAMPLE.com",)}, True),
    "a member by domain": (AlertRule(name="r", group="board"), {"people": ("x@board.example",)}, True),
    "one candidate of several is enough": (
        AlertRule(name="r", group="board"), {"people": ("a@b.example", "x@board.example")}, True),
    "a domain is no suffix": (AlertRule(name="r", group="board"), {"people": ("x@notboard.example",)}, False),
    "nobody": (AlertRule(name="r", group="board"), {"people": ()}, False),
    "one condition of two": (AlertRule(name="r", threats=("phishing",), event="proceeded"), {}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", FITS)
def test_rules(name):
    rule, more, wanted = FITS[name]
    assert fits(rule, cause(**more), groups_of(AlertSettings(groups=BOARD))) is wanted


def test_two_rules_are_on_by_default():
    assert [(rule.name, rule.on, rule.event) for rule in rules_of(AlertSettings())] == [
        ("proceeded", "click", "proceeded"), ("convicted", "conviction", ""),
    ]  # fmt: skip
    assert rules_of(AlertSettings(proceeded=False, convicted=False)) == ()


def gatherer(*rules: AlertRule, **more) -> Gatherer:
    return Gatherer(AlertSettings(proceeded=False, convicted=False, rules=rules or (AlertRule(name="r"),), **more))


def test_the_first_is_told_at_once_and_what_follows_together():
    ours = gatherer(group_minutes=5)
    ours.add(cause(1))
    assert [len(alert.causes) for alert in ours.due(NOW)] == [1]
    ours.add(cause(2))
    ours.add(cause(3))
    assert ours.due(NOW + timedelta(minutes=4, seconds=59)) == []
    assert sorted(ours.waiting("click")) == [2, 3]
    ours.add(cause(4, "other.example"))
    assert [alert.hosts for alert in ours.due(NOW + timedelta(minutes=1))] == [("other.example",)]
    (alert,) = ours.due(NOW + timedelta(minutes=5))
    assert [each.place for each in alert.causes] == [2, 3]
    assert ours.waiting("click") == []


def test_past_the_limit_all_that_waits_is_one_alert():
    ours = gatherer(per_hour=3, group_minutes=0)
    told = []
    for place in range(20):
        ours.add(cause(place, f"h{place}.example"))
        told += ours.due(NOW)
    assert len(told) == 3
    later = ours.due(NOW + timedelta(minutes=20))
    assert [len(alert.hosts) for alert in later] == [17]
    assert ours.due(NOW + timedelta(hours=5)) == []


def test_so_many_clicks_on_one_host_in_so_many_minutes():
    rule = AlertRule(name="many", clicks=3, minutes=10)
    ours = gatherer(rule)
    for place, minute, host in ((1, 0, "a"), (2, 1, "b"), (3, 9, "a"), (4, 11, "a")):
        ours.add(cause(place, host, time=NOW + timedelta(minutes=minute)))
    assert ours.due(NOW) == []  # the first of three was 11 minutes before the last
    ours.add(cause(5, "a", time=NOW + timedelta(minutes=19)))
    (alert,) = ours.due(NOW)
    assert [each.place for each in alert.causes] == [3, 4, 5]


def test_what_was_there_before_a_restart_counts_but_is_not_told():
    ours = gatherer(AlertRule(name="many", clicks=2))
    ours.add(cause(1), silent=True)
    assert ours.due(NOW) == []
    ours.add(cause(2))
    assert [len(alert.causes) for alert in ours.due(NOW)] == [2]


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("abcd")), max_size=40), st.integers(1, 4))
def test_nothing_is_dropped_and_nothing_told_twice(steps, per_hour):
    """Causes at any time, on any host, under any limit: a day later each was told once."""
    ours = gatherer(per_hour=per_hour, group_minutes=5)
    told, now = [], NOW
    for place, (seconds, host) in enumerate(steps):
        now += timedelta(seconds=seconds)
        ours.add(cause(place, host))
        told += ours.due(now)
    told += ours.due(now + timedelta(days=1))
    assert sorted(each.place for alert in told for each in alert.causes) == list(range(len(steps)))
    assert len(told) <= per_hour * (2 + sum(seconds for seconds, _ in steps) / 3600) + per_hour


def test_an_alert_says_what_happened_and_holds_nothing_live():
    ours = gatherer()
    for place in range(12):
        ours.add(cause(place, "evil.example\u202e", threats=("c2",), people=("a@example.com\r\nBcc: x@y.example",)))
    (alert,) = ours.due(NOW)
    shown = title(alert) + text(alert, "https://toc.example/console")
    for live in ("https://evil", "http://", "s3cret", "\u202e", "\r", "@example.com"):
        assert live not in shown
    for said in (
        "hxxps://evil[.]example",
        "and 2 more",
        "shown, block",
        "c2",
        "https://toc.example/console/clicks/0000",
    ):
        assert said in shown
    assert "\n" not in title(alert)
    found = document(alert, "")
    assert (found["count"], len(found["causes"])) == (12, 10)
    assert "s3cret" not in str(found)

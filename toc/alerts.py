"""What staff are told at once: rules over clicks and convictions, gathered so that one event is one alert. Pure.

    cause ─▶ rules that it fits ─▶ n on one host within m minutes? ─▶ gathered by rule and host ─▶ limited ─▶ Alert

The first cause of a rule and host is told at once; what follows is told together once `[alerts] group_minutes` have passed. Past
`per_hour` alerts all that waits becomes one alert: nothing is dropped, it is only told together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from toc.config import AlertRule, AlertSettings
from toc.hiding import defanged, inert
from toc.token import normal_address

SHOWN = 10
"""Causes that an alert spells out; the others it counts."""

MAX_WINDOWS = 10_000


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that happened.

    place:   its number in its own order: of the click's row, or of the hit
    on:      ``click``, or ``conviction``: a URL clicked before was convicted by an entry added later
    threats: what sources say it is;  source, entry: who convicted it
    people:  the recipient, or every candidate of a shared link
    """

    place: int
    on: str
    time: datetime
    click: str
    url: str
    host: str
    event: str
    action: str
    threats: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    source: str = ""
    entry: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """Causes of one rule on one host, or of several where the limit was reached. The oldest first, never empty."""

    rules: tuple[str, ...]
    hosts: tuple[str, ...]
    causes: tuple[Cause, ...]


def rules_of(settings: AlertSettings) -> tuple[AlertRule, ...]:
    """The operator's rules behind those that are on by default."""
    found = []
    if settings.proceeded:
        found.append(AlertRule(name="proceeded", event="proceeded"))
    if settings.convicted:
        found.append(AlertRule(name="convicted", on="conviction"))
    return (*found, *settings.rules)


def fits(rule: AlertRule, cause: Cause, groups: Mapping[str, frozenset[str]]) -> bool:
    """Whether every condition that the rule names holds. The number of clicks is `Gatherer`'s."""
    return (
        rule.on == cause.on
        and (not rule.threats or not set(rule.threats).isdisjoint(cause.threats))
        and (not rule.event or rule.event == cause.event)
        and (not rule.action or rule.action == cause.action)
        and (not rule.group or any(_in_group(person, groups[rule.group]) for person in cause.people))
    )


def groups_of(settings: AlertSettings) -> Mapping[str, frozenset[str]]:
    return {name: frozenset(map(_normal, members)) for name, members in settings.groups.items()}


def _normal(member: str) -> str:
    """An address, or ``@domain`` for everybody there."""
    return normal_address(member) if member[:1] != "@" else normal_address("x" + member)[1:]


def _in_group(address: str, members: frozenset[str]) -> bool:
    normal = normal_address(address)
    return normal in members or normal[normal.rfind("@") :] in members


Key = tuple[str, str]


@dataclass
class Gatherer:
    """What waits to be told. Changes with each call; knows no clock."""

    settings: AlertSettings
    _pending: dict[Key, list[Cause]] = field(default_factory=dict)
    _told: dict[Key, datetime] = field(default_factory=dict)
    _windows: dict[Key, deque[Cause]] = field(default_factory=dict)
    _allowance: float = -1.0
    _since: datetime | None = None

    def __post_init__(self) -> None:
        self._rules = rules_of(self.settings)
        self._groups = groups_of(self.settings)

    def add(self, cause: Cause, *, silent: bool = False) -> None:
        """Take in a cause. `silent`: it was there before a restart, and only counts for what is to come."""
        for rule in self._rules:
            if not fits(rule, cause, self._groups):
                continue
            found = self._enough(rule, cause)
            if found and not silent:
                self._pending.setdefault((rule.name, cause.host), []).extend(found)

    def _enough(self, rule: AlertRule, cause: Cause) -> Sequence[Cause]:
        """The causes, where there are now as many on one host and within the time that the rule asks for."""
        if rule.clicks == 1:
            return (cause,)
        key = rule.name, cause.host
        window = self._windows.setdefault(key, deque())
        window.append(cause)
        start = cause.time - timedelta(minutes=rule.minutes)
        while window[0].time < start:
            window.popleft()
        if len(window) < rule.clicks:
            if len(self._windows) > MAX_WINDOWS:
                self._windows.pop(next(iter(self._windows)))
            return ()
        del self._windows[key]
        return tuple(window)

    def due(self, now: datetime) -> list[Alert]:
        """What is to be told now; it waits no longer here."""
        pause = timedelta(minutes=self.settings.group_minutes)
        self._told = {key: time for key, time in self._told.items() if now - time < pause}
        ready = [key for key in self._pending if key not in self._told]
        allowed = self._allowed(now)
        if not ready or allowed < 1:
            return []
        parts = [ready] if len(ready) > allowed else [[key] for key in ready]
        self._allowance -= len(parts)
        self._told |= dict.fromkeys(ready, now)
        return [_alert({key: self._pending.pop(key) for key in part}) for part in parts]

    def _allowed(self, now: datetime) -> float:
        """A bucket that holds the alerts of an hour."""
        most = float(self.settings.per_hour)
        if self._since is None:
            self._allowance = most
        else:
            hours = max((now - self._since).total_seconds(), 0.0) / 3600
            self._allowance = min(self._allowance + hours * most, most)
        self._since = now
        return self._allowance

    def waiting(self, on: str) -> list[int]:
        """Places of the causes that wait."""
        return [cause.place for causes in self._pending.values() for cause in causes if cause.on == on]


def _alert(groups: Mapping[Key, Sequence[Cause]]) -> Alert:
    causes = sorted(
        {cause for found in groups.values() for cause in found}, key=lambda cause: (cause.time, cause.place)
    )
    rules, hosts = zip(*groups, strict=True)
    return Alert(tuple(dict.fromkeys(rules)), tuple(dict.fromkeys(hosts)), tuple(causes))


def title(alert: Alert) -> str:
    """One line, with no link in it."""
    hosts = ", ".join(map(defanged, alert.hosts[:3])) + (", …" if len(alert.hosts) > 3 else "")
    count = f" ({len(alert.causes)}×)" if len(alert.causes) > 1 else ""
    return f"Time-of-Click: {', '.join(map(inert, alert.rules))}: {hosts}{count}"


def text(alert: Alert, console_url: str) -> str:
    """The alert to be read, in plain text. Links of others are defanged, so that no mail program makes them clickable."""
    lines = [title(alert), ""]
    for cause in alert.causes[:SHOWN]:
        lines += [*_told(cause), f"  {console_url}/clicks/{cause.click}" if console_url else "", ""]
    if len(alert.causes) > SHOWN:
        lines += [f"and {len(alert.causes) - SHOWN} more", ""]
    return "\n".join(lines)


def _told(cause: Cause) -> list[str]:
    what = f"{cause.event}, {cause.action}" if cause.on == "click" else f"convicted by {cause.source} ({cause.entry})"
    people = ", ".join(map(defanged, cause.people)) or "recipient not known"
    lines = [
        f"{cause.time:%Y-%m-%d %H:%M:%S} UTC  {inert(what)}",
        f"  {defanged(without_query(cause.url))}",
        f"  {people}",
    ]
    return [*lines, f"  {', '.join(cause.threats)}"] if cause.threats else lines


def without_query(url: str) -> str:
    """Alerts travel by mail: a query may hold a live secret."""
    head, mark, _ = url.partition("#")[0].partition("?")
    return head + ("?…" if mark else "")


def document(alert: Alert, console_url: str) -> dict[str, object]:
    """The alert for programs."""
    return {
        "alert": list(alert.rules),
        "time": _moment(alert.causes[-1].time),
        "hosts": list(alert.hosts),
        "count": len(alert.causes),
        "causes": [_cause(cause, console_url) for cause in alert.causes[:SHOWN]],
    }


def _cause(cause: Cause, console_url: str) -> dict[str, object]:
    found: dict[str, object] = {
        "on": cause.on, "time": _moment(cause.time), "click": cause.click, "url": without_query(cause.url),
        "host": cause.host, "event": cause.event, "action": cause.action, "threats": list(cause.threats),
        "recipients": list(cause.people),
    }  # fmt: skip
    if cause.on == "conviction":
        found |= {"source": cause.source, "entry": cause.entry}
    if console_url:
        found["console"] = f"{console_url}/clicks/{cause.click}"
    return found


def _moment(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")

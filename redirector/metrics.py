"""Counters of the public listener. In the multiprocess mode of prometheus-client they are summed over all workers.

Counted in plain memory first, as one count of prometheus-client's costs more than opening a token: `flush` brings the
sums over, a few times a second.
"""

from __future__ import annotations

from collections import Counter as Counts

from prometheus_client import Counter, Gauge


class Tally:
    """A counter with labels. `add` may be called at any rate; what was added is seen outside after `flush`."""

    def __init__(self, name: str, documentation: str, labels: list[str]) -> None:
        self._counter = Counter(name, documentation, labels)
        self._waiting: Counts[tuple[str, ...]] = Counts()

    def add(self, labels: tuple[str, ...], count: int = 1) -> None:
        self._waiting[labels] += count

    def flush(self) -> None:
        for labels, count in self._waiting.items():
            self._counter.labels(*labels).inc(count)
        self._waiting.clear()


ANSWERS = Tally("toc_answers_total", "Answers of the public listener by status", ["status"])
CLICKS = Tally("toc_clicks_total", "Clicks by event and action", ["event", "action"])
BAD_LINKS = Tally("toc_bad_links_total", "Links that did not open, by cause", ["cause"])
RECORDS = Tally("toc_records_total", "Click records by where they were kept", ["kept"])

SHED = Tally("toc_shed_total", "Requests answered 503 because the worker had as much as it can do", ["path"])

COMMIT_FAILURES = Counter("toc_commit_failures_total", "Commits that the database did not take", ["what"])
REFUSING = Gauge(
    "toc_database_refuses",
    "1 while the database takes no rows of this kind; clicks then wait in journal and spools",
    ["what"],  # without a label it would be made at its import, before the folder of all processes' metrics is known
    multiprocess_mode="mostrecent",  # a shipper that was killed in trouble must not speak for its successor
)


def flush() -> None:
    for tally in (ANSWERS, CLICKS, BAD_LINKS, RECORDS, SHED):
        tally.flush()

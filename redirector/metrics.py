"""Counters of the public listener. In the multiprocess mode of prometheus-client they are summed over all workers."""

from __future__ import annotations

from prometheus_client import Counter

ANSWERS = Counter("toc_answers_total", "Answers of the public listener by status", ["status"])
CLICKS = Counter("toc_clicks_total", "Clicks by event and action", ["event", "action"])
BAD_LINKS = Counter("toc_bad_links_total", "Links that did not open, by cause", ["cause"])
RECORDS = Counter("toc_records_total", "Click records by where they were kept", ["kept"])

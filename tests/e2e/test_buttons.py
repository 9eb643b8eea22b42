"""Buttons pressed late, and clients that open everything at once.

Invariants: a button that comes too late never forwards, and never tells a person that they sent a form: the page comes
again, as it is due now; each of these is on record under the first click's group. A burst is on record as one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.conftest import READER, Service, nonce_in, start, stop

LATE = 5.1
"""Seconds: longer than the buttons of `hasty` work."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Its buttons work for a few seconds."""
    running = start(tmp_path_factory.mktemp("hasty"), "--workers", "1", more="\n[clicks]\nnonce_seconds = 4\n")
    yield running
    assert stop(running) == 0


def press(link: str, nonce: str, do: str = "proceed") -> httpx.Response:
    return httpx.post(link, data={"do": do, "nonce": nonce}, headers=READER)


def test_a_late_button_brings_the_page_again_and_that_one_leads_on(hasty: Service) -> None:
    hasty.call("POST", "/v1/objects", json={"type": "domain", "value": "late.example", "action": "warn"})
    link = hasty.link("http://late.example/")
    first = nonce_in(hasty.page(link))
    time.sleep(LATE)
    again = press(link, first)
    assert again.status_code == 200
    assert "location" not in again.headers
    assert "not sent" not in again.text
    assert press(link, nonce_in(again.text)).headers["location"] == "http://late.example/"
    rows = hasty.clicks(host="late.example")
    assert [row["event"] for row in rows[:3]] == ["proceeded", "shown", "shown"]
    assert len({row["group"] for row in rows[:3]}) == 1
    assert len({row["id"] for row in rows[:3]}) == 3


def test_a_late_button_on_a_link_that_is_blocked_by_now_is_blocked(hasty: Service) -> None:
    hasty.call("POST", "/v1/objects", json={"type": "domain", "value": "worse.example", "action": "warn"})
    link = hasty.link("http://worse.example/")
    first = nonce_in(hasty.page(link))
    hasty.call("POST", "/v1/objects", json={"type": "url", "value": "http://worse.example/", "action": "block"})
    hasty.page(link, 403)
    time.sleep(LATE)
    again = press(link, first)
    assert again.status_code == 403
    assert "location" not in again.headers


def test_a_late_report_is_a_report(hasty: Service) -> None:
    link = hasty.link("http://told.example/")
    first = nonce_in(hasty.click(link.replace("/u/", "/p/")).text)
    time.sleep(LATE)
    assert press(link, first, "report").status_code == 200
    assert hasty.clicks(host="told.example")[0]["event"] == "reported"


def test_a_late_button_of_a_preview_brings_the_preview(hasty: Service) -> None:
    link = hasty.link("http://seen.example/")
    first = nonce_in(hasty.click(link.replace("/u/", "/p/")).text)
    time.sleep(LATE)
    again = press(link, first)
    assert (again.status_code, again.headers.get("location")) == (200, None)
    assert press(link, nonce_in(again.text)).headers["location"] == "http://seen.example/"


def test_who_opens_all_links_of_a_message_at_once_is_uncertain(hasty: Service) -> None:
    urls = " ".join(f"http://burst.example/{number}" for number in range(9))
    rows = hasty.rewrite(f"Subject: x\r\n\r\n{urls}\r\n".encode(), Accept="application/json").json()["receipt"]
    with httpx.Client(headers=READER) as client:
        answers = [client.get(row["link"]).status_code for row in rows]
    assert set(answers) == {302}, "the answer is the same for all"
    found = [row["actor_reason"] for row in reversed(hasty.clicks(host="burst.example"))]
    assert found == ["user_activated"] * 5 + ["burst"] * 4

"""From a phishing URL to everyone concerned, in a running service: by call and by command."""

from __future__ import annotations

import json
import subprocess
import time

from tests.e2e.conftest import TOC, Service


def test_who_clicked_and_who_holds_it_is_known_before_the_object_is_there(service: Service) -> None:
    mail = (
        b"From: a@sender.example\r\nSubject: =?utf-8?B?6KuL5rGC5pu4?=\r\nMessage-ID: <bad@sender.example>\r\n\r\n"
        b"See https://login.time.example/pay?u=1 now\r\n"
    )
    sent = service.rewrite(mail, recipient="ana@example.com", Accept="application/json")
    service.rewrite(mail.replace(b"<bad@", b"<second@"), recipient="ben@example.com", Accept="application/json")
    assert service.click(sent.json()["receipt"][0]["link"]).status_code == 302
    assert service.clicks(host="login.time.example")

    answer = service.call("POST", "/v1/objects/impact", json={"type": "domain", "value": "time.example"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["counts"] == {"allow": {"block": 1}}
    assert found["people"] == ["ana@example.com"]
    assert [(row["message_id"], row["recipient"]) for row in found["held"]] == [
        ("<second@sender.example>", "ben@example.com")
    ]
    assert found["held"][0]["subject"] == "請求書"
    assert service.call("GET", "/v1/objects", params={"q": "time.example"}).json()["objects"] == []

    command = [*TOC, "objects", "impact", "domain", "time.example", "--config", str(service.settings)]
    told = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": "/usr/bin"}
    )
    assert "1 clicks: allow then, block with it" in told.stdout
    assert "<second@sender.example>" in told.stdout
    assert service.call("GET", "/v1/hits").json() == {"hits": [], "next": None}
    service.call("POST", "/v1/objects", json={"type": "domain", "value": "time.example", "action": "block"})
    end = time.monotonic() + 30
    while not (hits := service.call("GET", "/v1/hits").json()["hits"]) and time.monotonic() < end:
        time.sleep(0.2)
    told = sorted((hit["on"], hit["message_id"], *hit["recipients"]) for hit in hits)
    assert told == [
        ("click", "<bad@sender.example>", "ana@example.com"),
        ("link", "<bad@sender.example>", "ana@example.com"),
        ("link", "<second@sender.example>", "ben@example.com"),
    ]
    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(as_json.stdout)["held"] == found["held"]


def test_a_request_that_is_none_is_refused(service: Service) -> None:
    for body, status in (
        ({"type": "domain", "value": ""}, 422),
        ({"type": "domain", "value": "a.example", "days": 0}, 422),
        ({"type": "moon", "value": "x"}, 422),
    ):
        assert service.call("POST", "/v1/objects/impact", json=body).status_code == status

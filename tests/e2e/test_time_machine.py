"""From a phishing URL to everyone concerned, in a running service: by call and by command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

from tests.e2e.conftest import TOC, Service, start, stop
from tests.reputation.http_server import Request, Response, http_server


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


async def test_a_clicked_url_that_is_convicted_later_raises_an_alert(tmp_path: Path) -> None:
    """From the list's next generation to the people who watch, without anybody asking."""
    listed = tmp_path / "list.txt"
    listed.write_text("other.example\n")
    told: list[Request] = []

    def hook(request: Request) -> Response:
        told.append(request)
        return Response(204)

    async with http_server(hook) as url:
        more = (
            f'\n[alerts]\nwebhook = "{url}/alert"\nwebhook_secret = "a long enough secret"\n'
            f'\n[[reputation.feeds]]\nname = "feed"\nurl = "{listed}"\nformat = "domain_list"\nthreat = "phishing"\n'
        )
        service = await asyncio.to_thread(start, tmp_path, more=more)
        try:
            link = await asyncio.to_thread(service.link, "https://later.example/pay?secret=1")
            assert (await asyncio.to_thread(service.click, link)).status_code == 302
            await asyncio.to_thread(service.clicks)
            listed.write_text("other.example\nlater.example\n")
            done = await asyncio.to_thread(service.call, "POST", "/v1/lists/feed/refresh")
            assert done.json()["outcome"] == "new", done.text
            end = time.monotonic() + 40
            while not told and time.monotonic() < end:  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.1)
            found = (await asyncio.to_thread(service.call, "GET", "/v1/hits")).json()["hits"]
        finally:
            stop(service)
    assert told, "no alert came"
    body = told[0].body.decode()
    assert "later.example" in body
    assert "secret" not in body
    assert "reader@example.com" in body
    assert {(hit["source"], hit["entry"], hit["on"]) for hit in found} == {
        ("feed", "later.example", "click"),
        ("feed", "later.example", "link"),
    }

"""The service as others meet it: a mail in, a click, the record; every request of the table; every refusal in words."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import READER, TOC, Service, serve, start, stop
from toc import keys

SAFE = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex",
}


def _object(service: Service, kind: str, value: str, action: str, **more) -> httpx.Response:
    return service.call("POST", "/v1/objects", json={"type": kind, "value": value, "action": action, **more})


def _until(condition, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return bool(condition())


def test_a_mail_is_rewritten_and_its_link_forwards_and_is_on_record(service: Service) -> None:
    mail = (
        b"From: Anna <anna@sender.example>\r\nSubject: =?utf-8?B?6KuL5rGC5pu4?=\r\nMessage-ID: <first@x>\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nSee https://one.example/a?b=c\r\n"
    )
    answer = service.rewrite(mail)
    assert (answer.status_code, answer.headers["toc-rewritten"], answer.headers["toc-complete"]) == (200, "1", "yes")
    link = re.search(rb"http://127\.0\.0\.1:\d+/u/\S+", answer.content).group().decode()
    click = service.click(link)
    assert (click.status_code, click.headers["location"]) == (302, "https://one.example/a?b=c")
    assert {name: click.headers[name] for name in SAFE} == SAFE
    assert "frame-ancestors 'none'" in click.headers["content-security-policy"]
    assert "set-cookie" not in click.headers
    row = service.clicks(host="one.example")[0]
    assert (row["event"], row["action"], row["level"], row["actor"]) == ("forwarded", "allow", "untested", "person")
    assert (row["subject"], row["recipients"], row["message_id"]) == ("請求書", ["reader@example.com"], "<first@x>")
    assert service.call("GET", f"/v1/clicks/{row['id']}").json()["url"] == "https://one.example/a?b=c"


def test_a_mail_without_links_is_unchanged(service: Service) -> None:
    assert service.rewrite(b"Subject: x\r\n\r\nnothing here\r\n").status_code == 204


def test_rewriting_twice_changes_nothing_and_restoring_gives_the_original(service: Service) -> None:
    mail = b"Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='http://two.example/?a=1&amp;b'>x</a>\r\n"
    once = service.rewrite(mail).content
    assert service.rewrite(re.sub(rb"\AToc-Restore:.*?\r\n(?! )", b"", once, flags=re.S)).status_code == 204
    headers = {"Content-Type": "message/rfc822"}
    assert service.call("POST", "/v1/messages/restore", content=once, headers=headers).content == mail


def test_an_object_blocks_on_every_worker(service: Service) -> None:
    link = service.link("http://sub.bad.example/x")
    assert service.click(link).status_code == 302
    made = _object(service, "domain", "bad.example", "block")
    assert made.status_code == 201
    service.page(link, 403)
    page = service.click(link)
    assert page.status_code == 403
    assert "bad.example" in page.text
    assert "location" not in page.headers
    assert service.call("DELETE", f"/v1/objects/{made.json()['id']}").status_code == 204
    service.page(link, 302)


def test_a_warning_is_passed_with_its_button_and_both_events_share_a_group(service: Service) -> None:
    _object(service, "domain", "doubt.example", "warn")
    link = service.link("http://doubt.example/")
    nonce = service.nonce(link)
    went = httpx.post(link, data={"do": "proceed", "nonce": nonce}, headers=READER)
    assert (went.status_code, went.headers["location"]) == (303, "http://doubt.example/")
    rows = service.clicks(host="doubt.example")
    assert rows[0]["event"] == "proceeded"
    assert rows[0]["group"] == rows[1]["group"]
    assert httpx.post(link, data={"do": "report", "nonce": nonce}, headers=READER).status_code == 200
    assert service.clicks(host="doubt.example")[0]["event"] == "reported"


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"user": "anna", "password": "x"}, {}),
        ({"do": "proceed", "nonce": "A" * 51}, {}),
        ({"do": "proceed"}, {}),
        ({}, {}),
        ({"do": "proceed", "nonce": "x"}, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_any_other_post_gets_the_page_that_nothing_was_sent(service: Service, fields: dict, headers: dict) -> None:
    link = service.link("http://form.example/")
    answer = httpx.post(link, data=fields, headers={**READER, **headers})
    assert answer.status_code == 403
    assert "not sent" in answer.text
    assert "anna" not in answer.text


def test_a_form_of_a_mail_leads_to_the_page_about_forms(service: Service) -> None:
    mail = b"Content-Type: text/html\r\n\r\n<form action='http://form2.example/go'><input name=q></form>\r\n"
    link = service.rewrite(mail, Accept="application/json").json()["receipt"][0]["link"]
    answer = service.click(link + "?q=secret")
    assert answer.status_code == 200
    assert "not sent" in answer.text
    assert "secret" not in answer.text


def test_head_prefetch_preview_and_the_plain_paths(service: Service) -> None:
    link = service.link("http://three.example/")
    head = httpx.head(link, headers=READER)
    assert (head.status_code, head.content) == (302, b"")
    assert service.clicks(host="three.example")[0]["actor"] == "automated"
    prefetch = service.click(link, headers={"Sec-Purpose": "prefetch"})
    assert prefetch.status_code == 503
    assert "location" not in prefetch.headers
    preview = service.click(link.replace("/u/", "/p/"))
    assert preview.status_code == 200
    assert "three.example" in preview.text
    assert 'href="http://three.example' not in preview.text
    assert httpx.get(service.public + "/robots.txt").text.endswith("Disallow: /\n")
    security = httpx.get(service.public + "/.well-known/security.txt").text.splitlines()
    assert [line.partition(": ")[0] for line in security] == ["Contact", "Expires"]
    assert httpx.get(service.public + "/healthz").status_code == 200
    assert httpx.get(service.public + "/").status_code == 200
    assert httpx.get(service.public + "/static/page.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize(
    "path", ["/u/", "/u/x", "/u/x/", "/u/e.example/1AAAAx", "/u//x", "/nothing", "/u/../etc", "/%2e%2e/"]
)
def test_every_bad_link_gets_the_one_damaged_page(service: Service, path: str) -> None:
    answer = httpx.get(service.public + path, headers=READER)
    assert answer.status_code == 404
    assert "damaged" in answer.text


def test_a_revoked_link_has_no_way_on(service: Service) -> None:
    link = service.link("http://four.example/")
    made = service.call("POST", "/v1/revocations", json={"kind": "link", "value": link})
    assert made.status_code == 201
    page = service.page(link, 410)
    assert "four.example" in page
    assert "<button" not in page


def test_a_long_link_is_stored_and_forwards(service: Service) -> None:
    target = "http://long.example/" + "a" * 860
    link = service.link(target)
    assert len(link) < 200
    assert "/2" in link
    assert service.click(link).headers["location"] == target


def test_links_are_opened_and_unwrapped_by_call(service: Service) -> None:
    link = service.link("http://five.example/x")
    opened = service.call("POST", "/v1/links/open", json={"link": link + ">."}).json()
    assert opened["target"] == "http://five.example/x"
    wrapped = "https://urldefense.com/v2/url?u=https-3A__www.example.com&d=&c="
    found = service.call("POST", "/v1/links/unwrap", json={"url": wrapped}).json()
    assert found["layers"][0]["vendor"]


def test_a_bare_body_is_rewritten_as_text_or_as_bytes(service: Service) -> None:
    asked = {"content_type": "text/plain; charset=iso-8859-1", "body": "é http://six.example/"}
    answer = service.call("POST", "/v1/rewrite", json=asked).json()
    assert answer["body"].startswith("é http://127.0.0.1")
    assert answer["receipt"][0]["outcome"] == "rewritten"
    assert service.call("POST", "/v1/rewrite", json={"content_type": "text/plain"}).status_code == 422


def test_the_verdict_says_why(service: Service) -> None:
    _object(service, "url", "http://seven.example/bad", "block", note="seen")
    assert _until(
        lambda: (
            service.call("GET", "/v1/verdict", params={"url": "http://seven.example/bad"}).json()["level"]
            == "dangerous"
        )
    )
    found = service.call("GET", "/v1/verdict", params={"url": "http://seven.example/bad"}).json()
    assert found["matches"][0]["entry"] == "http://seven.example/bad"
    assert found["decision"]["action"] == "block"
    assert service.call("GET", "/v1/verdict", params={"url": "javascript:1"}).status_code == 422


def test_objects_are_checked_listed_exported_and_imported(service: Service) -> None:
    assert _object(service, "domain", "over.example", "override").status_code == 422
    assert _object(service, "domain", "*.com", "block").json()["warning"]
    assert _object(service, "domain", "a b", "block").json()["reason"] == "invalid"
    exported = service.call("GET", "/v1/objects/export").text
    again = service.call("POST", "/v1/objects/import", content=exported.encode(), headers={"Content-Type": "text/csv"})
    told = again.json()
    assert (told["added"], told["refused"]) == (0, [])
    assert ["*.com" in warning for warning in told["warnings"]] == [True]  # known or new: it is as broad
    assert service.call("GET", "/v1/objects", params={"q": "*.com"}).json()["objects"][0]["value"] == "*.com"
    for row in service.call("GET", "/v1/objects", params={"q": "*.com"}).json()["objects"]:
        service.call("DELETE", f"/v1/objects/{row['id']}")


@pytest.mark.parametrize("form", ["jsonl", "csv", "ecs", "cef", "urlclickevents"])
def test_clicks_are_exported(service: Service, form: str) -> None:
    service.click(service.link("http://eight.example/"))
    answer = service.call("GET", "/v1/clicks/export", params={"format": form, "host": "eight.example"})
    assert answer.status_code == 200
    assert "eight.example" in answer.text


def test_a_filter_that_is_not_understood_is_refused(service: Service) -> None:
    answer = service.call("GET", "/v1/clicks", params={"hots": "x"})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "hots" in answer.json()["detail"]


@pytest.mark.parametrize(("authorization", "status"), [("", 401), ("Bearer toc_wrong", 401), ("Basic x", 401)])
def test_no_call_without_a_key(service: Service, authorization: str, status: int) -> None:
    answer = httpx.get(service.admin + "/v1/clicks", headers={"Authorization": authorization})
    assert answer.status_code == status
    assert answer.json()["reason"] == "unauthenticated"


def test_a_key_opens_only_what_its_scopes_say_and_nothing_after_its_end(service: Service) -> None:
    config = ["--config", str(service.settings)]
    key = subprocess.run(
        [*TOC, "apikeys", "add", "gateway", "--scope", "rewrite", *config], capture_output=True, text=True, check=True
    ).stdout.strip()
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.post(service.admin + "/v1/messages/rewrite", content=b"\r\nx", headers=headers).status_code == 204
    assert httpx.get(service.admin + "/v1/clicks", headers=headers).status_code == 403
    listed = subprocess.run([*TOC, "apikeys", "list", *config], capture_output=True, text=True, check=True).stdout
    assert key not in listed
    key_id = next(line.split()[0] for line in listed.splitlines() if "gateway" in line)
    subprocess.run([*TOC, "apikeys", "revoke", key_id, *config], check=True, capture_output=True)
    rewrite = service.admin + "/v1/messages/rewrite"
    assert _until(lambda: httpx.post(rewrite, content=b"\r\nx", headers=headers).status_code == 401, 3)


def test_open_calls_and_metrics(service: Service) -> None:
    assert httpx.get(service.admin + "/healthz").status_code == 200
    assert httpx.get(service.admin + "/readyz").json()["database"] == "ok"
    document = httpx.get(service.admin + "/openapi.json").json()
    assert "/v1/messages/rewrite" in document["paths"]
    assert "/v1/clicks" in httpx.get(service.admin + "/docs").text
    assert 'toc_clicks_total{action="allow",event="forwarded"}' in service.call("GET", "/metrics").text
    assert httpx.get(service.admin + "/metrics").status_code == 401


def test_keys_rotate_under_clicks_and_no_click_fails(tmp_path: Path) -> None:
    """A short run by default: 10 rotations; `test_two_hundred_rotations` is the long one."""
    _rotate(tmp_path, rotations=10, rate=100)


@pytest.mark.long
def test_two_hundred_rotations_under_two_hundred_clicks_a_second(tmp_path: Path) -> None:
    _rotate(tmp_path, rotations=200, rate=200)


CLICKERS = 8


def _rotate(folder: Path, rotations: int, rate: int) -> None:
    running = start(folder, "--workers", "2")
    links = [running.link("http://rotate.example/0")]
    failures: list[int] = []
    count = 0
    done = threading.Event()

    def clicking() -> None:
        nonlocal count
        with httpx.Client(headers=READER) as client:
            while not done.is_set():
                began = time.monotonic()
                status = client.get(links[count % len(links)]).status_code
                count += 1
                if status != 302:
                    failures.append(status)
                time.sleep(max(0.0, CLICKERS * 0.6 / rate - (time.monotonic() - began)))

    threads = [threading.Thread(target=clicking) for _ in range(CLICKERS)]
    for thread in threads:
        thread.start()
    try:
        path = running.settings.parent / "keyset.json"
        for number in range(1, rotations + 1):
            fresh = keys.change(path, lambda old: keys.add(old, random=os.urandom, now=datetime.now(UTC))).keys[-1]
            time.sleep(1.1)  # every process looks at the file each second
            keys.change(path, partial(keys.promote, key_id=fresh.id, now=datetime.now(UTC), at_once=True))
            links.append(running.link(f"http://rotate.example/{number}"))
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert count > rotations * rate  # each rotation takes over a second
    assert all(running.click(link).status_code == 302 for link in links)
    assert stop(running) == 0


def test_a_restart_keeps_clicks_links_and_objects(tmp_path: Path) -> None:
    first = start(tmp_path)
    link = first.link("http://stay.example/")
    first.click(link)
    assert stop(first) == 0
    second = serve(tmp_path, first.settings, first.key)
    assert second.click(link).status_code == 302
    assert len(second.clicks(host="stay.example")) == 2
    assert stop(second) == 0


def _refusal(*arguments: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run([*TOC, *arguments], check=False, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_what_is_wrong_at_start_is_said_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "toc" / "toc.toml"
    subprocess.run(
        [*TOC, "init", str(tmp_path / "toc"), "--public-url", "http://c.example"], check=True, capture_output=True
    )
    serving = ("serve", "--config", str(config))
    text = config.read_text()
    assert "exists already" in _refusal("init", str(tmp_path / "toc"), "--public-url", "http://c.example")
    config.write_text(text + "[link]\nmax_lnik = 3\n")
    assert "max_lnik" in _refusal(*serving)
    config.write_text(text + '[[policy.rules]]\nname = "r"\nprofile = "lax"\n')
    assert "no profile 'lax'" in _refusal(*serving)
    config.write_text(text.replace("127.0.0.1:8081", "0.0.0.0:8081"))
    assert "admin_tls_cert" in _refusal(*serving)
    config.write_text(text)
    keyset = tmp_path / "toc" / "keyset.json"
    keyset.chmod(0o644)
    assert "chmod 600" in _refusal(*serving)
    keyset.rename(tmp_path / "kept")
    assert "missing" in _refusal(*serving)
    (tmp_path / "kept").rename(keyset)
    keyset.chmod(0o600)
    assert "missing" in _refusal("serve", "--config", str(tmp_path / "none.toml"))


def test_a_port_in_use_and_a_database_from_the_future_are_said_in_one_line(service: Service, tmp_path: Path) -> None:
    config = tmp_path / "toc" / "toc.toml"
    subprocess.run(
        [*TOC, "init", str(tmp_path / "toc"), "--public-url", "http://c.example"], check=True, capture_output=True
    )
    text = config.read_text()
    taken = service.public.rpartition(":")[2]
    config.write_text(text.replace("127.0.0.1:8080", f"127.0.0.1:{taken}"))
    assert "in use" in _refusal("serve", "--config", str(config))
    config.write_text(text)
    connection = sqlite3.connect(tmp_path / "toc" / "toc.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    assert "newer version" in _refusal("serve", "--config", str(config))


def test_no_file_of_ours_can_be_read_by_others(tmp_path: Path) -> None:
    place = tmp_path / "toc"
    subprocess.run(
        [*TOC, "init", str(place), "--public-url", "http://c.example"], check=True, capture_output=True, umask=0o000
    )
    assert {path.name: path.stat().st_mode & 0o007 for path in (place, *place.iterdir())} == dict.fromkeys(
        ("toc", "toc.toml", "toc.db", "keyset.json"), 0
    )


def test_the_filter_answers_temporary_failure(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TOC, "rewrite", "-", "--config", str(tmp_path / "none")], check=False, input=b"x", capture_output=True
    )
    assert (done.returncode, done.stdout) == (75, b"")

"""``toc verdict --replay``: an old click is explained by what was recorded with it, whatever changed since.

Invariants: as long as nobody touched record or rules, the evidence gives the recorded level, action and reasons; lists
and policies of today change nothing about that; a record that was tampered with is found out.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator

import msgspec
import pytest

from tests.e2e.conftest import TOC, Service, serve, start, stop
from toc import startup
from toc.replay import replay

SETTINGS = """
[[reputation.feeds]]
name = "own"
url = "bad.txt"
format = "domain_list"
threat = "malware"
[[reputation.feeds]]
name = "missing"
url = "nowhere.txt"
format = "domain_list"
required = true
[[reputation.brands]]
name = "paypal"
domains = ["paypal.com"]
"""
URLS = {
    "listed": "http://www.evil.example/x?token=1",
    "object": "http://bad.example/",
    "approved": "http://good.example/",
    "lookalike": "http://paypa1.example/",
    "unknown": "http://unknown.example/",
}


def toc(service: Service, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*TOC, *arguments, "--config", str(service.settings)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def replayed(service: Service, click_id: str) -> dict:
    click = service.call("GET", f"/v1/clicks/{click_id}").json()
    answer = replay(click, startup.read(service.settings, {}).config)
    return json.loads(msgspec.json.encode(answer))


@pytest.fixture(scope="module")
def clicked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service that has judged clicks, and their ids; list, objects and policy are others by now."""
    service = start(tmp_path_factory.mktemp("replay"), more=SETTINGS)
    folder = service.settings.parent
    (folder / "bad.txt").write_text("other.example\nevil.example\n")
    assert service.call("POST", "/v1/lists/own/refresh").json()["outcome"] == "new"
    for value, action in (("bad.example", "block"), ("good.example", "allow")):
        service.call("POST", "/v1/objects", json={"type": "domain", "value": value, "action": action})
    links = {name: service.link(url) for name, url in URLS.items()}
    service.page(links["object"], 403)
    service.page(links["approved"], 302)
    for link in links.values():
        service.click(link)
    assert stop(service) == 0
    newest = {}
    text = service.settings.read_text()
    service.settings.write_text(text + '\n[policy.profiles.default]\nuntested = "warn"\nsuspicious = "block"\n')
    (folder / "bad.txt").write_text("other.example\nnew.example\n")
    running = serve(service.folder, service.settings, service.key)
    running.call("POST", "/v1/lists/own/refresh")
    for item in running.call("GET", "/v1/objects").json()["objects"]:
        running.call("DELETE", f"/v1/objects/{item['id']}")
    for click in running.clicks():
        name = next(name for name, url in URLS.items() if url == click["url"])
        newest.setdefault(name, click["id"])
    yield running, newest
    assert stop(running) == 0


EXPECTED = {
    "listed": ("dangerous", "block", [("own", "evil.example", 2)]),
    "object": ("dangerous", "block", [("objects", "bad.example", 0)]),
    "approved": ("safe", "allow", [("objects", "good.example", 0)]),
    "lookalike": ("suspicious", "warn", []),
    "unknown": ("untested", "warn", []),  # a required list was silent
}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_old_click_is_explained_by_its_own_evidence(clicked, name):
    service, ids = clicked
    answer = replayed(service, ids[name])
    level, action, matches = EXPECTED[name]
    assert (answer["level"], answer["action"]) == (level, action)
    assert [(match["source"], match["entry"], match["line"]) for match in answer["matches"]] == matches
    assert answer["url"] == URLS[name]
    assert (answer["agrees"], answer["differences"]) == (True, [])
    assert (answer["policy_kept"], answer["profile"]) == (True, "default")
    assert (answer["silent"], answer["required"]) == (["missing"], ["missing"])
    assert set(answer["generations"]) == {"own", "objects"}


def test_the_list_of_that_day_is_still_there_and_holds_the_line(clicked):
    service, ids = clicked
    (match,) = replayed(service, ids["listed"])["matches"]
    assert match["today"] == "stands"
    (row,) = [row for row in service.call("GET", "/v1/lists").json()["lists"] if row["name"] == "own"]
    assert match["generation"] != row["generation"]


def test_the_command_says_the_same_to_a_person_and_to_a_program(clicked):
    service, ids = clicked
    done = toc(service, "verdict", "--replay", ids["listed"], "--json")
    again = json.loads(done.stdout)
    assert again == replayed(service, ids["listed"])
    done = toc(service, "verdict", "--replay", ids["listed"])
    for said in ("dangerous", "block", "own line 2", "evil.example", "still on disk", "policy", "silent: missing"):
        assert said in done.stdout.replace("\n", " "), said


def test_a_record_that_was_changed_is_found_out(clicked):
    service, ids = clicked
    database = sqlite3.connect(service.settings.parent / "toc.db", timeout=10)
    with database:
        found = database.execute("SELECT evidence FROM clicks WHERE id = ?", (ids["listed"],)).fetchone()[0]
        changed = found.replace('"line":2', '"line":1').replace('"dangerous"', '"suspicious"')
        assert changed != found
        database.execute("UPDATE clicks SET evidence = ? WHERE id = ?", (changed, ids["listed"]))
    try:
        answer = replayed(service, ids["listed"])
        assert answer["agrees"] is False
        assert len(answer["differences"]) == 3  # level, action and line
    finally:
        with database:
            database.execute("UPDATE clicks SET evidence = ? WHERE id = ?", (found, ids["listed"]))
        database.close()


def test_without_the_generation_and_the_policy_it_says_so(clicked):
    service, ids = clicked
    answer = replayed(service, ids["listed"])
    folder = service.settings.parent
    aside = folder / "aside"
    aside.mkdir()
    moved = [
        (folder / "lists" / "own" / f"{answer['matches'][0]['generation']}.idx", aside / "list"),
        (folder / "policies" / f"{answer['policy']}.json", aside / "policy"),
    ]
    for path, target in moved:
        shutil.move(path, target)
    try:
        answer = replayed(service, ids["listed"])
    finally:
        for path, target in moved:
            shutil.move(target, path)
    assert (answer["policy_kept"], answer["matches"][0]["today"], answer["agrees"]) == (False, "gone", True)


REFUSED = [
    ([], 2, "give a URL"),
    (["http://a.example/", "--replay", "x"], 2, "give a URL"),
    (["--replay", "0" * 32], 1, "no click"),
]


@pytest.mark.parametrize(("arguments", "code", "said"), REFUSED)
def test_what_the_command_refuses(clicked, arguments, code, said):
    done = toc(clicked[0], "verdict", *arguments)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (code, True, False)

"""``toc verdict URL`` as a person runs it while no service does: what the database and the lists hold counts at once.

Invariants: every form that was looked up is told, of every layer; a match names its list line and the list's age.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.reputation.installation import installed

TOC = [sys.executable, "-m", "toc.cli"]
LIST = """
[[reputation.feeds]]
name = "own"
url = "own.txt"
format = "domain_list"
threat = "phishing"
"""


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    installed(tmp_path, LIST)
    (tmp_path / "own.txt").write_text("first.example\nlisted.example\n")
    return tmp_path / "toc.toml"


def toc(settings: Path, *arguments: str) -> str:
    command = [*TOC, *arguments, "--config", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_object_counts_before_any_service_has_run(settings):
    (settings.parent / "snapshot.msgpack").unlink()
    toc(settings, "objects", "add", "domain", "bad.example")
    answer = json.loads(toc(settings, "verdict", "http://www.bad.example/", "--json"))
    assert (answer["level"], answer["silent"]) == ("dangerous", ["own"])
    assert [match["entry"] for match in answer["matches"]] == ["bad.example"]


def test_a_look_up_makes_no_database(settings):
    toc(settings, "verdict", "http://www.bad.example/", "--json")
    assert not (settings.parent / "toc.db").exists()


def test_a_match_names_line_and_age_of_its_list(settings):
    toc(settings, "lists", "refresh")
    shown = toc(settings, "verdict", "http://listed.example/")
    assert "own line 2 (generation " in shown
    assert "0 min old): listed.example · phishing" in shown


def test_every_form_of_every_layer_is_told(settings):
    url = "https://urldefense.com/v3/__http://例え.example:8080/a/b?q=1__;!!a!b$"
    answer = json.loads(toc(settings, "verdict", url, "--json"))
    told = set(answer["forms"])
    assert {"urldefense.com", "urldefense.com/v3/", "http://xn--r8jz45g.example:8080/a/b?q=1"} <= told
    assert {"xn--r8jz45g.example", "例え.example", "xn--r8jz45g.example/a/b?q=1", "xn--r8jz45g.example/a/"} <= told
    shown = toc(settings, "verdict", url)
    assert all(f"looked up: {form}" in shown for form in told)

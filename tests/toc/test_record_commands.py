"""``toc clicks`` and ``toc retention`` as a person runs them, on a real database of each kind."""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from redirector.clicks import Click
from tests.redirector.record_data import START, click, put, stored

TOC = [sys.executable, "-m", "toc.cli"]
SETTINGS = '[service]\npublic_url = "https://links.example"\ndatabase = "{url}"\n[clicks]\nretention_days = {days}\n'


@pytest.fixture
def settings(database: str, tmp_path: Path) -> Path:
    path = tmp_path / "toc.toml"
    old = (datetime.now(UTC) - START) // timedelta(days=1)
    path.write_text(SETTINGS.format(url=database, days=old + 20))
    return path


def toc(settings: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOC, *arguments, "--config", str(settings)], capture_output=True, text=True, check=False, timeout=120
    )


def test_export_and_search_print_the_same_clicks(database, settings):
    record(database, *(click(number) for number in range(3)))
    for command in ("export", "search"):
        done = toc(settings, "clicks", command, "--format", "jsonl", "host=www.shop.example")
        assert [int(json.loads(line)["id"], 16) for line in done.stdout.splitlines()] == [2, 1, 0], done.stderr
        assert done.stderr == ""
    assert toc(settings, "clicks", "export", "colour=red").returncode == 1


def test_tail_prints_what_comes(database, settings):
    record(database, click(1))
    command = [*TOC, "clicks", "tail", "--config", str(settings), "--format", "cef"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            number = 2
            line = ""
            while not line and number < 60:
                record(database, click(number))
                number += 1
                time.sleep(0.5)
                line = _ready(running)
        finally:
            running.terminate()
    assert line.startswith("CEF:0|")
    assert f"externalId={1:032x}" not in line


def record(url: str, *made: Click) -> None:
    asyncio.run(put(url, *made))


def _ready(running: subprocess.Popen[str]) -> str:
    return running.stdout.readline() if select.select([running.stdout], [], [], 0)[0] else ""


def test_retention_runs_now_and_tells_what_it_did(database, settings):
    late = (datetime.now(UTC) - START) // timedelta(minutes=1)
    record(database, click(1), click(2), click(late, id="f" * 32))
    done = toc(settings, "retention", "run")
    assert json.loads(done.stdout) == {"deleted": 0, "truncated": 2}, done.stderr
    settings.write_text(settings.read_text().replace("retention_days = ", "retention_days = 1 # "))
    done = toc(settings, "retention", "run")
    assert json.loads(done.stdout) == {"deleted": 2, "truncated": 0}, done.stderr
    assert stored(database) == ["f" * 32]

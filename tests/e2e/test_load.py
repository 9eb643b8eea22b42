"""Under load: what is shed is refused whole, a restart or a node's death fails no click, and every answer is on record."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

from tests.e2e.conftest import Service, start, stop
from tests.e2e.load import ask, clicking, sealed_paths, spooled

ROLLS = 200 if os.environ.get("TOC_LONG") == "1" else 10


def address(service: Service) -> tuple[str, int]:
    host, _, port = service.public.removeprefix("http://").rpartition(":")
    return host, int(port)


def children(pid: int) -> dict[str, int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    names = {}
    for child in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
            names[Path(f"/proc/{child}/comm").read_text().strip()] = int(child)
    return names


def counted(service: Service, name: str) -> float:
    text = service.call("GET", "/metrics").text
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{.*}})? ([\d.e+]+)$", text, re.MULTILINE))


def recorded(service: Service, host: str) -> int:
    found, cursor = 0, ""
    while cursor is not None:
        answer = service.call("GET", "/v1/clicks", params={"limit": "1000", "host": host, "cursor": cursor}).json()
        found, cursor = found + len(answer["clicks"]), answer["next"]
    return found


def until(holds, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.1)
    return bool(holds())


def test_past_capacity_a_click_is_refused_whole_and_counted_and_the_others_are_answered_and_on_record(
    tmp_path: Path,
) -> None:
    service = start(tmp_path, "--workers", "1", more="[clicks]\ncapacity = 5\n")
    paths = sealed_paths(service.settings.parent / "keyset.json", 60, "burst.example")
    recorder = children(service.process.pid)["toc-recorder"]
    try:
        os.kill(recorder, signal.SIGSTOP)  # each click now waits for its record, as on a slow disk

        async def burst() -> Counter[int]:
            return Counter(await asyncio.gather(*(ask(address(service), path) for path in paths)))

        answers = asyncio.run(burst())
        os.kill(recorder, signal.SIGCONT)
        assert set(answers) == {302, 503}
        assert until(lambda: counted(service, "toc_shed_total") == answers[503])
        assert until(lambda: recorded(service, "burst.example") == answers[302])
        shed = asyncio.run(ask(address(service), paths[0]))
        assert shed == 302, "at once again"
    finally:
        os.kill(recorder, signal.SIGCONT)
        assert stop(service) == 0


def test_reloads_under_load_fail_no_click(tmp_path: Path) -> None:
    """Workers alone, as they are what a click meets; each roll replaces both."""
    service = start(tmp_path, "--workers", "2", "--only", "redirector")
    paths = sealed_paths(service.settings.parent / "keyset.json", 500)
    try:
        with clicking(address(service), paths, 200) as stream:
            for _ in range(ROLLS):
                _reload(service)
        assert set(stream.answers) == {302}, stream.answers
        assert stream.answers[302] > 20 * ROLLS
    finally:
        assert stop(service) == 0
    assert spooled(service.settings.parent) == stream.answers[302]


def test_a_reload_of_everything_under_load_loses_no_record(tmp_path: Path) -> None:
    service = start(tmp_path, "--workers", "2")
    paths = sealed_paths(service.settings.parent / "keyset.json", 500)
    try:
        with clicking(address(service), paths, 50) as stream:
            for _ in range(max(1, ROLLS // 10)):
                _reload(service)
        assert set(stream.answers) == {302}, stream.answers
        assert until(lambda: recorded(service, "load.example") == stream.answers[302])
    finally:
        assert stop(service) == 0


def _reload(service: Service) -> None:
    before = children(service.process.pid)
    service.process.send_signal(signal.SIGHUP)
    assert until(lambda: _replaced(before, service), 60)


def _replaced(before: dict[str, int], service: Service) -> bool:
    now = children(service.process.pid)
    return all(name in now and now[name] != before[name] for name in before if name != "toc-recorder")

"""kill -9 under load.

Invariant: whatever process is killed whenever, every click that got its answer is on record, once; a click without one is
there once at most; clicks go on; whatever a killed process had started ends too.
"""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path

from tests.e2e.clicking import clicking, on_record, until_on_record
from tests.e2e.conftest import Service, serve, start, stop
from tests.e2e.processes import children, is_running, kill

KILLS = 500 if os.environ.get("TOC_LONG") == "1" else 20
ROLES = ("toc-recorder", "toc-shipper", "toc-worker-0", "toc-worker-1", "toc-recorder", "toc-manager", "supervisor")


def kill_one(running: Service, role: str) -> Service:
    """Kill the process of this role, once there is one. A supervisor is started again, as systemd would."""
    if role == "supervisor":
        ours = {pid for pid, name in children(running.process.pid).items() if name.startswith("toc-")}
        running.process.kill()
        running.process.wait()
        until_gone(ours)  # they hold its port
        return serve(running.folder, running.settings, running.key, "--workers", "2")
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = [pid for pid, name in children(running.process.pid).items() if name == role]
        if found:
            kill(found[0])
            return running
        time.sleep(0.02)
    raise AssertionError(f"no {role} within half a minute")


def until_gone(pids: set[int], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < end, "it outlives its parent"
        time.sleep(0.02)


def test_every_click_that_got_its_answer_is_on_record_once(tmp_path: Path) -> None:
    chance = random.Random(500)
    running = start(tmp_path, "--workers", "2", more="\n[spool]\nmegabytes = 8\n")
    record = partial(on_record, tmp_path / "toc" / "toc.db")
    link = running.link("http://kill.example/")
    family: set[int] = set()
    with clicking(link) as load:
        for number in range(KILLS):
            time.sleep(chance.uniform(0.0, 0.4))
            before = len(load.answered)
            family |= set(children(running.process.pid))
            running = kill_one(running, ROLES[number % len(ROLES)])
            end = time.monotonic() + 30
            while len(load.answered) < before + 5:
                assert time.monotonic() < end, f"no clicks go on after kill {number}"
                time.sleep(0.01)
    assert set(load.answered.values()) == {302}
    assert len(load.answered) > 5 * KILLS
    until_on_record(record, load)
    assert stop(running) == 0
    until_on_record(record, load, 0.0)
    until_gone(family)

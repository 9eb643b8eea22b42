"""`toc demo` as README's reader meets it: addresses that answer, and nothing left behind whoever ends it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx


def test_it_answers_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "toc.cli", "demo"]
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        addresses: list[str] = []
        for line in process.stdout:
            addresses += re.findall(r"http://127\.0\.0\.1:\d+/\S*", line)
            if "Ctrl-C" in line:
                break
        assert len(addresses) >= 3
        for address in addresses:
            assert httpx.get(address, follow_redirects=True, timeout=20).status_code == 200
        process.terminate()
        assert process.wait(60) == 0
    assert list(tmp_path.iterdir()) == []
    for address in addresses:
        try:
            httpx.get(address, timeout=2)
        except httpx.ConnectError:
            continue
        raise AssertionError(f"{address} still answers")

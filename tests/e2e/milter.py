"""`toc milter` as a process of its own, for tests that kill, stop and restart it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.conftest import TOC
from tests.ports import free_port


@dataclass
class Milter:
    settings: Path
    listen: str
    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def installed(cls, folder: Path, more: str = "") -> Milter:
        """A new installation in `folder`, with `more` settings."""
        made = [*TOC, "init", str(folder / "toc"), "--public-url", "http://links.example.net"]
        subprocess.run(made, check=True, capture_output=True)
        settings = folder / "toc" / "toc.toml"
        settings.write_text(settings.read_text() + more)
        return cls(settings, f"127.0.0.1:{free_port()}")

    def with_settings(self, name: str, more: str) -> Milter:
        """Another milter of the same installation, with its own settings."""
        settings = self.settings.with_name(f"{name}.toml")
        settings.write_text(self.settings.read_text() + more)
        return Milter(settings, f"127.0.0.1:{free_port()}")

    @property
    def for_postfix(self) -> str:
        return f"inet:{self.listen}"

    @property
    def log(self) -> Path:
        return self.settings.with_suffix(".log")

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        ready = self.settings.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        command = [*TOC, "milter", "--config", str(self.settings), "--ready-file", str(ready)]
        with self.log.open("ab") as log:
            environment = {**os.environ, "TOC_MILTER__LISTEN": self.listen}
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + 60
        while not ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """To the process and its rewriting pool."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(20)

    def stop(self) -> None:
        if self.process is not None and self.runs:
            self.process.terminate()
            self.process.wait(40)

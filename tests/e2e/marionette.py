"""Firefox, driven by its own remote protocol, Marionette: JSON lists with their length before them, over TCP.

Playwright drives only a Firefox of its own making, and Debian has no geckodriver; the protocol is small enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.ports import free_port

PREFERENCES: dict[str, object] = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.security.https_first": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
}
"""A browser that talks to the pages of the test and to nobody else."""


class Firefox:
    """One browser with one window."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""
        self._number = 0
        self._receive()  # it says hello
        self.ask("WebDriver:NewSession", {"strictFileInteractability": True})

    def ask(self, command: str, parameters: dict[str, object] | None = None) -> Any:
        self._number += 1
        raw = json.dumps([0, self._number, command, parameters or {}]).encode()
        self._connection.sendall(b"%d:%b" % (len(raw), raw))
        _, number, error, result = self._receive()
        assert number == self._number
        assert error is None, f"{command}: {error}"
        return result.get("value", result) if isinstance(result, dict) else result

    def _receive(self) -> Any:
        while b":" not in self._buffer:
            self._more()
        length, _, rest = self._buffer.partition(b":")
        self._buffer = rest
        while len(self._buffer) < int(length):
            self._more()
        raw, self._buffer = self._buffer[: int(length)], self._buffer[int(length) :]
        return json.loads(raw)

    def _more(self) -> None:
        data = self._connection.recv(65536)
        assert data, "Firefox has gone"
        self._buffer += data

    def open(self, url: str) -> None:
        self.ask("WebDriver:Navigate", {"url": url})

    def press(self, selector: str) -> None:
        found = self.ask("WebDriver:FindElement", {"using": "css selector", "value": selector})
        self.ask("WebDriver:ElementClick", {"id": next(iter(found.values()))})

    def back(self) -> None:
        self.ask("WebDriver:Back")

    def forward(self) -> None:
        self.ask("WebDriver:Forward")

    @property
    def url(self) -> str:
        return str(self.ask("WebDriver:GetCurrentURL"))

    @property
    def source(self) -> str:
        return str(self.ask("WebDriver:GetPageSource"))


@contextlib.contextmanager
def firefox(program: str, folder: Path) -> Iterator[Firefox]:
    """Start it with a profile of its own in `folder`."""
    port = free_port()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join([*lines, f'user_pref("marionette.port", {port});', ""]))
    command = [program, "--marionette", "--headless", "--no-remote", "--profile", str(folder)]
    environment = {**os.environ, "HOME": str(folder), "MOZ_CRASHREPORTER_DISABLE": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        with _connected(port, process, folder / "log") as connection:
            yield Firefox(connection)
    finally:
        process.terminate()
        process.wait(30)


def _connected(port: int, process: subprocess.Popen[bytes], log: Path) -> socket.socket:
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)

"""Behind nginx, Caddy and HAProxy, each as deploy/ configures it; under systemd's sockets; with TLS of our own."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, require_program
from tests.e2e.conftest import READER, TOC, Service, start, stop
from tests.e2e.load import clicking, sealed_paths
from tests.e2e.test_load import recorded, until
from tests.ports import free_port

RESTARTS = 200 if os.environ.get("TOC_LONG") == "1" else 2
FORGED = {"X-Forwarded-For": "203.0.113.99", "Forwarded": "for=203.0.113.98", "X-Real-IP": "203.0.113.97"}
CLIENT = "127.0.0.2"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOC_SERVICE__TRUSTED_PROXIES", '["127.0.0.1/32"]')
        service = start(tmp_path_factory.mktemp("behind"))
    yield service
    assert stop(service) == 0


def _port(service: Service) -> str:
    return service.public.rpartition(":")[2]


def _nginx(folder: Path, listen: int, service: Service) -> list[str]:
    text = (ROOT / "deploy/nginx/toc.conf").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{_port(service)}")
    text = re.sub(r"listen 443 ssl;", f"listen 127.0.0.1:{listen};", re.sub(r" +ssl_.*\n", "", text))
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {places}\n{text}\n}}")
    return [require_program("nginx"), "-c", str(config), "-e", str(folder / "log")]


def _caddy(folder: Path, listen: int, service: Service) -> list[str]:
    text = (ROOT / "deploy/caddy/Caddyfile").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{_port(service)}")
    text = text.replace("links.example.com {", f"http://127.0.0.1:{listen} {{").replace("{\n", "{\n\tadmin off\n", 1)
    (folder / "Caddyfile").write_text(text)
    return [require_program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _haproxy(folder: Path, listen: int, service: Service) -> list[str]:
    text = (ROOT / "deploy/haproxy/haproxy.cfg").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{_port(service)}")
    (folder / "haproxy.cfg").write_text(re.sub(r"bind :443 .*", f"bind 127.0.0.1:{listen}", text))
    return [require_program("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


@pytest.mark.parametrize("front", [_nginx, _caddy, _haproxy])
def test_behind_a_proxy_links_arrive_as_sent_and_only_the_proxy_says_who_clicked(
    front: Callable[[Path, int, Service], list[str]], behind: Service, tmp_path: Path
) -> None:
    listen = free_port()
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    process = subprocess.Popen(front(tmp_path, listen, behind), env=environment)
    host = f"{front.__name__.strip('_')}.example"
    path = sealed_paths(behind.settings.parent / "keyset.json", 1, host)[0]
    client = httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT), headers=READER, timeout=30)
    try:
        assert until(lambda: _answers(listen), 30)
        for sent in (path, path + "%3E", path.replace("/u/", "//u/")):
            answer = client.get(f"http://127.0.0.1:{listen}{sent}", headers=FORGED)
            assert answer.status_code == (302 if sent.startswith("/u/") else 404), sent
        assert until(lambda: recorded(behind, host) == 2)
        assert {click["client"] for click in behind.clicks(host=host)} == {CLIENT}
    finally:
        client.close()
        process.terminate()
        process.wait(20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_a_peer_that_is_no_listed_proxy_is_not_believed(behind: Service) -> None:
    path = sealed_paths(behind.settings.parent / "keyset.json", 1, "peer.example")[0]
    with httpx.Client(transport=httpx.HTTPTransport(local_address=CLIENT), headers=READER) as client:
        assert client.get(behind.public + path, headers=FORGED).status_code == 302
    assert [click["client"] for click in behind.clicks(host="peer.example")] == [CLIENT]


def test_a_restart_with_the_sockets_of_systemd_fails_no_click(tmp_path: Path) -> None:
    """As toc.socket does it: the socket outlives the service, and clicks wait in its queue."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    settings = tmp_path / "toc" / "toc.toml"
    subprocess.run(
        [*TOC, "init", str(settings.parent), "--public-url", "http://x.example"], check=True, capture_output=True
    )
    paths = sealed_paths(settings.parent / "keyset.json", 300, "socket.example")
    running = _activated(listener, settings, tmp_path / "ready")
    try:
        with clicking(listener.getsockname(), paths, 20) as stream:
            for number in range(RESTARTS):
                running.send_signal(signal.SIGTERM)
                assert running.wait(60) == 0
                running = _activated(listener, settings, tmp_path / f"ready-{number}")
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(60)
        listener.close()
    assert set(stream.answers) == {302}, stream.answers


_AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="public")
os.execv(sys.argv[2], sys.argv[2:])
"""


def _activated(listener: socket.socket, settings: Path, ready: Path) -> subprocess.Popen[bytes]:
    """`toc serve` as systemd starts it: the socket as descriptor 3 (sd_listen_fds(3))."""
    command = [sys.executable, "-c", _AS_SYSTEMD, str(listener.fileno()), *TOC, "serve", "--only", "redirector"]
    process = subprocess.Popen(
        [*command, "--config", str(settings), "--ready-file", str(ready)],
        pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert until(ready.exists, 60)
    return process


def test_the_units_are_sound_and_sandboxed(tmp_path: Path) -> None:
    analyze = require_program("systemd-analyze")
    for path in (ROOT / "deploy/systemd").iterdir():
        text = path.read_text().replace("/opt/toc/bin/toc", sys.executable).replace("User=toc\nGroup=toc\n", "")
        (tmp_path / path.name).write_text(text)
    units = sorted(tmp_path.iterdir())
    done = subprocess.run([analyze, "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr
    for unit in (tmp_path / "toc.service", tmp_path / "toc-milter.service"):
        # Exposure from 0 to 100; below 30 counts as "OK". Given as root here, as the user was taken out.
        command = [analyze, "security", "--offline=true", "--threshold=30", str(ROOT / "deploy/systemd" / unit.name)]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0, unit.name


@pytest.mark.parametrize(
    ("unit", "calls"), [("toc.service", {"setpriority", "sched_setscheduler"}), ("toc-milter.service", {"setpriority"})]
)
def test_the_units_let_processes_give_way_and_kill_none_for_a_call(unit: str, calls: set[str]) -> None:
    """These lie in ``@resources``, which is taken away as a whole; without an error number each would be a SIGSYS."""
    lines = (ROOT / "deploy/systemd" / unit).read_text().splitlines()
    filters = [line.removeprefix("SystemCallFilter=") for line in lines if line.startswith("SystemCallFilter=")]
    assert set(filters[-1].split()) == calls
    assert "SystemCallErrorNumber=EPERM" in lines


def test_the_public_listener_speaks_tls_with_a_certificate_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openssl = require_program("openssl")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("TOC_SERVICE__TLS_CERT", str(tmp_path / "cert.pem"))
    monkeypatch.setenv("TOC_SERVICE__TLS_KEY", str(tmp_path / "key.pem"))
    service = start(tmp_path)
    try:
        trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        path = sealed_paths(service.settings.parent / "keyset.json", 1, "tls.example")[0]
        url = service.public.replace("http://", "https://") + path
        assert httpx.get(url, headers=READER, verify=trusted).status_code == 302
        with pytest.raises(httpx.TransportError):
            httpx.get(url.replace("https://", "http://"), headers=READER)
        trusted.minimum_version = trusted.maximum_version = ssl.TLSVersion.TLSv1_2
        assert httpx.get(url, headers=READER, verify=trusted).status_code == 302
    finally:
        assert stop(service) == 0

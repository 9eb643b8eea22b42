"""``toc demo``: the whole service in a temporary folder, a mailbox to look at, local pages to click to; and the same walked.

Everything is real: `toc init`, `toc serve`, the calls that a gateway makes. Only the mailbox and the target pages belong to
the demonstration.
"""

from __future__ import annotations

import base64
import contextlib
import html
import json
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
from rich.console import Console
from rich.table import Table

from toc.demo_mails import PAGES, Sample, samples
from toc.errors import ConfigError
from toc.supervisor import bind

START_SECONDS = 60.0
READER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0", "Accept": "text/html"}
READER["Accept-Language"] = "en"
HOSTS = {"approved": "127.0.0.1", "unknown": "127.0.0.2", "suspicious": "127.0.0.3", "dangerous": "127.0.0.4"}
"""Each demo page has a loopback address of its own, so that each can have a verdict of its own."""


@dataclass
class Stage:
    """The running demonstration."""

    public: str
    admin: str
    key: str
    password: str
    pages: dict[str, str]
    mails: list[tuple[Sample, bytes, list[dict[str, Any]]]] = field(default_factory=list)

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **more.pop("headers", {})}
        return httpx.request(method, self.admin + path, headers=headers, timeout=30, **more)


def run(*, check: bool) -> int:
    """Run until interrupted, or with `check` walk once and return 0 if every step held."""
    console = Console()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends it, its service ends with it
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toc-demo-")))
        pages = stack.enter_context(_target_pages())
        stage = stack.enter_context(_service(folder, pages))
        _prepare(stage)
        if check:
            return _check(stage, console)
        mailbox = stack.enter_context(_mailbox(stage))
        console.print(f"Mailbox:   [bold]{mailbox}[/bold]   (mails before and after, receipts, the click log)")
        console.print(f"Console:   [bold]{stage.admin}/console[/bold]   (name admin, password {stage.password})")
        console.print(f"Calls:     {stage.admin}/docs   with the API key {stage.key}")
        console.print("Everything is in a temporary folder and goes away with Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    return 0


@contextlib.contextmanager
def _service(folder: Path, pages: dict[str, str]) -> Iterator[Stage]:
    """`toc init` and `toc serve` in `folder`, as an operator would run them."""
    toc = [sys.executable, "-m", "toc.cli"]
    listener = bind("127.0.0.1:0", "public")
    port = listener.getsockname()[1]
    listener.close()
    password = secrets.token_urlsafe(12)
    made = subprocess.run(  # noqa: S603
        [*toc, "init", str(folder / "toc"), "--public-url", f"http://127.0.0.1:{port}", "--password-stdin"],
        input=password,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise ConfigError(made.stderr.strip())
    settings = folder / "toc" / "toc.toml"
    (folder / "toc" / "suspicious.txt").write_text(f"http://{HOSTS['suspicious']}/\n")
    text = settings.read_text().replace(":8080", f":{port}").replace('"127.0.0.1:8081"', '"127.0.0.1:0"')
    text = re.sub(r'public_url = "[^"]*"', f'public_url = "http://127.0.0.1:{port}"', text)
    feed = (
        '[[reputation.feeds]]\nname = "demo-list"\nurl = "suspicious.txt"\nformat = "url_list"\nlevel = "suspicious"\n'
    )
    text = text.replace("# contact =", "contact =")
    settings.write_text(f'{text}\n[pages]\nname = "Example Ltd"\n\n{feed}')
    ready = folder / "ready.json"
    process = subprocess.Popen(  # noqa: S603
        [*toc, "serve", "--config", str(settings), "--ready-file", str(ready)], stderr=subprocess.DEVNULL
    )
    try:
        _await(ready, process)
        addresses = json.loads(ready.read_text())
        yield Stage(
            f"http://{addresses['public']}", f"http://{addresses['admin']}", made.stdout.split()[-1], password, pages
        )
    finally:
        process.terminate()
        process.wait(30)


def _await(ready: Path, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > end:
            raise ConfigError("the demonstration's service did not start; `toc serve` says why")
        time.sleep(0.05)


def _prepare(stage: Stage) -> None:
    """One page approved, one on the list of objects, one on the demo's own list; then all mails through the gateway's call."""
    for name, action in (("approved", "allow"), ("dangerous", "block")):
        asked = {"type": "ip", "value": HOSTS[name], "action": action, "note": "demo", "owner": "demo"}
        stage.call("POST", "/v1/objects", json=asked).raise_for_status()
    stage.call("POST", "/v1/lists/demo-list/refresh").raise_for_status()
    time.sleep(1.0)  # every worker knows within a second
    for sample in samples(stage.pages):
        headers = {"Content-Type": "message/rfc822", "Toc-Sender": "shop@sender.example"}
        headers |= {"Toc-Recipient": "reader@example.com", "Accept": "application/json"}
        answer = stage.call("POST", "/v1/messages/rewrite", content=sample.raw, headers=headers)
        answer.raise_for_status()
        document = answer.json()
        stage.mails.append((sample, base64.b64decode(document["message_b64"]), document["receipt"]))


EXPECTED = {"approved": 302, "unknown": 302, "suspicious": 200, "dangerous": 403}
"""What a click on each kind of page answers."""


def _check(stage: Stage, console: Console) -> int:
    """Walk the road as a reader would, and print each step with what it gave."""
    table = Table("step", "expected", "got", "", box=None)
    steps: list[bool] = []

    def step(name: str, expected: object, got: object) -> None:
        steps.append(expected == got)
        table.add_row(name, str(expected), str(got), "[green]ok[/green]" if steps[-1] else "[red]wrong[/red]")

    clicked = 0
    for sample, rewritten, receipt in stage.mails:
        sealed = [row for row in receipt if row["outcome"] == "rewritten"]
        step(f"{sample.name}: links rewritten", _links_in(sample), len(sealed))
        step(f"{sample.name}: a second pass changes nothing", 204, _again(stage, rewritten))
        step(f"{sample.name}: restored byte for byte", True, _restored(stage, rewritten) == sample.raw)
        for row in sealed:
            kind = next(name for name, host in HOSTS.items() if f"//{host}:" in row["url"])
            answer = httpx.get(row["link"], headers=READER)
            step(f"{sample.name}: click on a page that is {kind}", EXPECTED[kind], answer.status_code)
            if answer.status_code == 302:
                step(f"{sample.name}: forwarded to its target", row["url"], answer.headers["location"])
            elif kind == "suspicious":
                step(f"{sample.name}: proceed past the warning", 303, _proceed(row["link"], answer.text))
                clicked += 1
            clicked += 1
    damaged = httpx.get(f"{stage.public}/u/e.example/1{'A' * 80}x", headers=READER)
    step("a forged link", 404, damaged.status_code)
    found = stage.call("GET", "/v1/clicks", params={"recipient": "reader@example.com", "limit": 1000}).json()["clicks"]
    step("clicks on record", clicked, len(found))
    step("the subject of the Japanese mail", True, any(click["subject"] == "ご請求書のご案内" for click in found))
    console.print(table)
    console.print(f"{sum(steps)} of {len(steps)} steps held")
    return 0 if all(steps) else 1


def _links_in(sample: Sample) -> int:
    """How many links the sample holds: its demo pages, by their addresses."""
    message = message_from_bytes(sample.raw, policy=policy.default)
    text = message.get_content()
    return sum(text.count(f"//{host}:") for host in HOSTS.values())


def _again(stage: Stage, rewritten: bytes) -> int:
    headers = {"Content-Type": "message/rfc822"}
    answer = stage.call("POST", "/v1/messages/rewrite", content=_without_field(rewritten), headers=headers)
    return answer.status_code


def _without_field(raw: bytes) -> bytes:
    """A second gateway that does not know our field has taken it out."""
    return re.sub(rb"\AToc-Restore:[^\n]*\n(?:[ \t][^\n]*\n)*", b"", raw)


def _restored(stage: Stage, rewritten: bytes) -> bytes:
    headers = {"Content-Type": "message/rfc822"}
    return stage.call("POST", "/v1/messages/restore", content=rewritten, headers=headers).content


def _proceed(link: str, page: str) -> int:
    nonces = re.findall(r'name="nonce" value="([^"]+)"', page)
    return httpx.post(link, data={"do": "proceed", "nonce": nonces[-1]}, headers=READER).status_code


@contextlib.contextmanager
def _target_pages() -> Iterator[dict[str, str]]:
    """The local pages that the sample mails link to: name → URL."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = cast(tuple[str, int], self.server.server_address)
            name = next((name for name, host in HOSTS.items() if address[0] == host), "unknown")
            body = f"<!DOCTYPE html><meta charset=utf-8><title>{name}</title><h1>{PAGES[name]}</h1>".encode()
            _answer(self, body)

        def log_message(self, *_: object) -> None:
            """Quiet: the demonstration prints its own lines."""

    with contextlib.ExitStack() as stack:
        found = {}
        for name, host in HOSTS.items():
            server = stack.enter_context(_serving(ThreadingHTTPServer((host, 0), Page)))
            found[name] = f"http://{host}:{server.server_address[1]}/{name}"
        yield found


@contextlib.contextmanager
def _mailbox(stage: Stage) -> Iterator[str]:
    """The mailbox page."""

    class Mailbox(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/clicks":
                found = stage.call("GET", "/v1/clicks", params={"limit": 100}).json()["clicks"]
                return _answer(self, _clicks_page(found).encode())
            return _answer(self, _mailbox_page(stage).encode())

        def log_message(self, *_: object) -> None:
            """Quiet: the demonstration prints its own lines."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Mailbox)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}/"


@contextlib.contextmanager
def _serving(server: ThreadingHTTPServer) -> Iterator[ThreadingHTTPServer]:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html; charset=utf-8")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


_STYLE = """<!DOCTYPE html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Time-of-Click: demonstration</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 1.5rem auto; padding: 0 1rem; color: #1d2733 }
section { border: 1px solid #d4dbe3; border-radius: .5rem; padding: 1rem; margin: 1rem 0 }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
.body { background: #f5f7fa; padding: .75rem; border-radius: .4rem; overflow-wrap: anywhere; white-space: pre-wrap }
.html { white-space: normal } table { border-collapse: collapse; width: 100%; font-size: .9rem }
td, th { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #e2e7ed; overflow-wrap: anywhere }
</style>"""


def _body_of(raw: bytes) -> str:
    """The mail's body as a mail program would show it; links in plain text made clickable."""
    message = message_from_bytes(raw, policy=policy.default)
    text = str(message.get_content())
    if message.get_content_type() == "text/html":
        return f'<div class="body html">{text}</div>'
    shown = re.sub(
        r"https?://[!-;=?-~]+", lambda m: f"<a href='{m.group()}'>{m.group()}</a>", html.escape(text, quote=False)
    )
    return f'<div class="body">{shown}</div>'


def _mailbox_page(stage: Stage) -> str:
    sections = []
    for sample, rewritten, receipt in stage.mails:
        rows = "".join(
            f"<tr><td>{html.escape(row['url'])}</td><td>{row['outcome']}</td><td>{row['reason']}</td>"
            f"<td>{row.get('level', '')}</td></tr>"
            for row in receipt
        )
        sections.append(
            f"<section><h2>{html.escape(sample.title)}</h2><div class='pair'><div><h3>Before</h3>{_body_of(sample.raw)}</div>"
            f"<div><h3>After: click here</h3>{_body_of(rewritten)}</div></div><h3>Receipt</h3><table><tr><th>URL</th>"
            f"<th>outcome</th><th>reason</th><th>level then</th></tr>{rows}</table></section>"
        )
    return f"{_STYLE}<h1>Mailbox</h1><p><a href='/clicks'>The click log</a></p>{''.join(sections)}"


def _clicks_page(found: list[dict[str, Any]]) -> str:
    names = ("time", "event", "action", "level", "url", "subject", "actor")
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{html.escape(str(click[name]))}</td>" for name in names)
        + f"<td>{html.escape(', '.join(click['reasons']))}</td></tr>"
        for click in found
    )
    head = "".join(f"<th>{name}</th>" for name in (*names, "reasons"))
    return f"{_STYLE}<h1>Click log</h1><p><a href='/'>Mailbox</a></p><table><tr>{head}</tr>{rows}</table>"

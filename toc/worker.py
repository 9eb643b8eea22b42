"""A click worker: one process that serves the public listener. Builds the road of a click and hands everything in."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop

from redirector import metrics
from redirector.accepting import Acceptor
from redirector.app import App, Limits, Links
from redirector.branding import load_branding
from redirector.click import Road, Tools
from redirector.pages import Renderer
from redirector.protocol import Doorkeeper, LimitedProtocol, guarded
from redirector.rate import Network, RateLimiter
from redirector.record import Recorder
from redirector.spool import Spool
from redirector.sunset import SunsetRoad
from toc import stored_file
from toc.config import Config
from toc.keys import Keyset, KeysetFile
from toc.knowledge import Knowledge, utc_now
from toc.live import live_sources
from toc.live_health import Teller, folder_of_all
from toc.sightings import UNKNOWN, StoreReader
from toc.startup import Startup
from toc.token import Sealed, nonce_key
from toc.url import Url
from toc.verdict import Verdict

log = structlog.get_logger("toc.worker")

ACCEPT_SECONDS = 0.05
"""Longer than a turn of the event loop takes under load."""

BACKLOG = 2048

REFRESH_SECONDS = 0.25
"""How often the files of `Knowledge` are looked at: a change is effective on every worker within a second."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where this worker stands. `database`: None on a node that has none. `sunset`: nothing is checked any more."""

    number: int
    listener: socket.socket
    recorder: Path
    database: str | None
    sunset: bool = False


def run(startup: Startup, place: Place, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM."""
    uvloop.run(_serve_sunset(startup, place, ready) if place.sunset else _serve(startup, place, ready))


async def _serve(startup: Startup, place: Place, ready: Callable[[], None]) -> None:
    config = startup.config
    live = live_sources(config)
    knowledge = Knowledge(startup, live=live)
    spool = Spool.open(config.data_dir / "spool" / f"clicks-{place.number}.spool", config.spool.megabytes << 20)
    recorder = Recorder(place.recorder, spool, config.spool.commit_ms / 1000)
    await recorder.start()
    app = application(startup, knowledge, recorder, place.database)
    refreshing = asyncio.create_task(refresh_for_ever(knowledge, Teller(live, folder_of_all(), utc_now)))
    try:
        await serve_http(app, place.listener, tls_of(startup, public=True), ready, app)
    finally:
        refreshing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await refreshing
        await recorder.close()
        metrics.flush()


async def _serve_sunset(startup: Startup, place: Place, ready: Callable[[], None]) -> None:
    """By the keyset alone, and the stored-link file where there is one."""
    config = startup.config
    keyset_file = KeysetFile(config.keyset_path)
    reader = StoreReader(None, time.monotonic, config.data_dir / stored_file.FILE_NAME)

    def keyset() -> Keyset:
        keyset_file.refresh(time.monotonic())
        return keyset_file.current

    renderer = _renderer(config)
    road = SunsetRoad(keyset, reader.stored, utc_now, renderer, config.clicks.nonce_seconds)
    app = _app(road, renderer, config)
    await serve_http(app, place.listener, tls_of(startup, public=True), ready, app)


def application(startup: Startup, knowledge: Knowledge, recorder: Recorder, database: str | None) -> App:
    """The public listener's application, put together from its parts."""
    config = startup.config
    reader = StoreReader(database, time.monotonic, config.data_dir / stored_file.FILE_NAME)
    renderer = _renderer(config)
    road = Road(_tools(knowledge, reader, recorder), renderer, config, networks(config.clicks.scanner_networks))
    return _app(road, renderer, config)


def _app(road: Links, renderer: Renderer, config: Config) -> App:
    proxies = networks(config.service.trusted_proxies)
    bad = RateLimiter(config.clicks.rate, config.clicks.burst, proxies)
    return App(road, renderer, config, Limits(config.clicks.capacity, proxies), bad)


def _renderer(config: Config) -> Renderer:
    renderer = Renderer(load_branding(config))
    if renderer.refused is not None:
        log.error("template_refused", error=str(renderer.refused))
    return renderer


async def refresh_for_ever(knowledge: Knowledge, teller: Teller) -> None:
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        await knowledge.refresh_beside(time.monotonic())
        metrics.flush()
        teller.tell()


def _tools(knowledge: Knowledge, reader: StoreReader, recorder: Recorder) -> Tools:
    def judge(url: Url, sealed: Sealed, now: datetime) -> Verdict | None:
        seen = reader.remembered(url.host)
        return knowledge.at_once(url, sealed, now, seen) if seen is not UNKNOWN else None

    async def ask(url: Url, sealed: Sealed, now: datetime) -> Verdict:
        return await knowledge.of_link(url, sealed, now, await reader.sighting(url.host))

    def revoked(sealed: Sealed, token: str) -> bool:
        return knowledge.revoked.covers(sealed, token)  # looked up each time: `refresh` replaces it

    nonces: dict[bytes, bytes] = {}

    def key() -> bytes:
        keyset = knowledge.keyset_file.current
        return nonces.setdefault(keyset.ref_key, nonce_key(keyset))

    return Tools(
        keyset=lambda: knowledge.keyset_file.current,
        refresh=lambda: knowledge.keyset_file.refresh(time.monotonic()),
        policy=lambda: knowledge.policy,
        judge=judge,
        ask=ask,
        stored=reader.stored,
        revoked=revoked,
        networks=reader.networks,
        keep=recorder.keep,
        keep_then=recorder.keep_then,
        nonce_key=key,
        clock=utc_now,
        new_id=Ids(),
    )


class Ids:
    """32 hex digits that begin with the time, so that the index of ids grows at its end (as UUID version 7 does).

    One per process, made after the fork: chance is fetched for many at a time.
    """

    AT_ONCE = 400

    def __init__(self) -> None:
        self._chance = ""
        self._at = 0

    def __call__(self) -> str:
        if self._at == len(self._chance):
            self._chance, self._at = os.urandom(10 * self.AT_ONCE).hex(), 0
        start = self._at
        self._at = start + 20
        return f"{time.time_ns() // 1_000_000:012x}{self._chance[start : start + 20]}"


class Server(uvicorn.Server):
    """uvicorn's server that takes in connections by an `Acceptor`, and says when it answers."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._listener = listener
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        self._acceptor = Acceptor(self._listener, self._protocol, self.config.ssl)
        self._acceptor.start()
        self._ready()

    def _protocol(self) -> asyncio.Protocol:
        kind: Any = self.config.http_protocol_class
        made: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """First no new connections; those that were accepted in the same moment become known before all are told."""
        self._acceptor.stop()
        await asyncio.sleep(ACCEPT_SECONDS)
        self._listener.close()
        await super().shutdown(sockets)


async def serve_http(
    app: object,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    ready: Callable[[], None],
    doorkeeper: Doorkeeper | None = None,
) -> None:
    """uvicorn on a bound socket, until SIGTERM; then what was begun is finished."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=guarded(doorkeeper) if doorkeeper else LimitedProtocol,
        loop="none",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
    )
    config.load()
    config.ssl = tls
    settle_memory()
    # uvicorn raises the signal that ended it once more: by then `serve` has returned, and this process ends by itself.
    signal.signal(signal.SIGTERM, lambda *_: None)
    listener.listen(BACKLOG)
    await Server(config, listener, ready).serve()


def settle_memory() -> None:
    """What was made until now stays: the collector need not walk through it again, and less often through the rest.

    A click makes hardly any cycles; with Python's own thresholds the collector took a twentieth of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def tls_of(startup: Startup, *, public: bool) -> ssl.SSLContext | None:
    """The TLS context of a listener, None for plain HTTP."""
    config = startup.config
    service = config.service
    cert, key = (service.tls_cert, service.tls_key) if public else (service.admin_tls_cert, service.admin_tls_key)
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(config.path(cert), config.path(key))
    return context


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)

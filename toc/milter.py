"""``toc milter``: the rewriting pool behind the milter protocol, for Postfix and Sendmail. Puts the parts together."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import start_http_server

from rewriter.milter.server import Limits, serve
from rewriter.milter.session import SessionLimits
from rewriter.milter.work import milter_work, ways
from toc.errors import ConfigError
from toc.pool import RewritingPool
from toc.sealing import Sealing
from toc.startup import Startup
from toc.store.engine import open_async

GRACE_SECONDS = 20.0


def run(startup: Startup, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM; `ready` is called with the bound address."""
    asyncio.run(_serve(startup, ready))


async def _serve(startup: Startup, ready: Callable[[str], None]) -> None:
    config = startup.config
    chosen = config.milter
    engine = open_async(config.database)
    known = ways(chosen.internal_networks, chosen.internal_domains, chosen.trusted_relays)
    session = SessionLimits(max_message=config.rewriter.max_message)
    limits = Limits(session, work_seconds=chosen.timeout_seconds, concurrency=chosen.concurrency)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with contextlib.AsyncExitStack() as stack:
        pool = await stack.enter_async_context(RewritingPool.open(startup, engine))
        sealing = await stack.enter_async_context(Sealing.open(config))
        work = milter_work(pool, known, version("time-of-click"), sealing)
        server = await serve(chosen.listen, work, limits)
        if chosen.metrics_listen:
            stack.callback(_metrics(chosen.metrics_listen))
        ready(server.address)
        await stopped.wait()
        await server.close(grace=GRACE_SECONDS)
    await engine.dispose()


def _metrics(where: str) -> Callable[[], None]:
    """Answer ``GET /metrics`` on ``HOST:PORT``; gives back how to stop. Raises ConfigError, OSError."""
    host, colon, port = where.rpartition(":")
    if not colon or not port.isdigit():
        raise ConfigError(f"[milter] metrics_listen {where!r} must be HOST:PORT")
    server, thread = start_http_server(int(port), host.strip("[]"))

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop

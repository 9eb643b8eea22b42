"""The milter of an installation as a process of its own, for tests that kill, stop and restart it.

python -m tests.e2e.milter_process SETTINGS HOST:PORT READY_FILE
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from rewriter.milter.server import Limits, serve
from rewriter.milter.session import SessionLimits
from rewriter.milter.work import milter_work, ways
from toc import startup
from toc.pool import RewritingPool
from toc.store.engine import open_async


async def main(settings: Path, listen: str, ready: Path) -> None:
    loaded = startup.read(settings)
    config = loaded.config
    chosen = config.milter
    engine = open_async(config.database)
    known = ways(chosen.internal_networks, chosen.internal_domains, chosen.trusted_relays)
    session = SessionLimits(max_message=config.rewriter.max_message)
    limits = Limits(session, work_seconds=chosen.timeout_seconds, concurrency=chosen.concurrency, progress_seconds=1)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with RewritingPool.open(loaded, engine) as pool:
        server = await serve(listen, milter_work(pool, known, "test"), limits)
        ready.write_text(server.address)
        await stopped.wait()
        await server.close(grace=20)
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))

"""The receipts' spool: records of mails that the database could not take, one file each, shipped later, once."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from toc.records import MessageRecord, recordable, store

log = structlog.get_logger("toc.receipts")

SHIP_SECONDS = 2.0


class ReceiptSpool:
    """A folder. A record is written aside, fsynced and renamed; storing it twice changes nothing, so it is once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, record: MessageRecord) -> None:
        name = f"{int(record.time.timestamp() * 1000):015d}-{record.ref.hex()}"
        temporary = self._folder / f".{name}.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(msgspec.msgpack.encode(recordable(record)))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._folder / name)

    def waiting(self) -> list[Path]:
        """Oldest first."""
        return sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))

    async def ship_for_ever(self, engine: AsyncEngine) -> None:
        while True:
            await asyncio.sleep(SHIP_SECONDS)
            await self.ship(engine)

    async def ship(self, engine: AsyncEngine) -> None:
        """All that waits, until the database refuses one."""
        for path in self.waiting():
            if not await self._ship(path, engine):
                return

    async def _ship(self, path: Path, engine: AsyncEngine) -> bool:
        try:
            record = msgspec.msgpack.decode(path.read_bytes(), type=MessageRecord)
            async with engine.begin() as connection:
                await store(connection, record)
        except (SQLAlchemyError, OSError):
            return False
        except msgspec.DecodeError:
            log.error("receipt_unreadable", file=path.name)
            path.rename(path.with_name(f".broken-{path.name}"))
            return True
        path.unlink()
        return True

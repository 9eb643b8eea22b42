"""Every earlier schema, filled, brought to today's: no row is lost or changed, and what a killed upgrade leaves opens again."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
from alembic import command
from sqlalchemy import Engine, event

from redirector.clicks import COLUMNS
from tests.redirector import record_data
from tests.redirector.databases import empty
from tests.redirector.record_data import rows
from toc.store import engine

ROWS = 1_000_000 if os.environ.get("TOC_LONG") == "1" else 20_000
EARLIER = ("0001", "0003", "0004", "0005", "0006")


def filled(path: Path, revision: str, count: int) -> None:
    """A database of that schema with `count` clicks and as many messages as there are hundreds."""
    command.upgrade(engine._alembic(f"sqlite:///{path}"), revision)
    connection = sqlite3.connect(path)
    places = ", ".join("?" * len(COLUMNS))
    few = rows(range(1000))
    names = {name: place for place, name in enumerate(COLUMNS)}
    made = []
    for number in range(count):
        values = list(few[number % 1000])
        values[names["id"]] = f"{number:032x}"
        values[names["url"]] = f"https://www.shop.example/{number % (count // 3)}?b=c"
        made.append(values)
    connection.executemany(f"INSERT INTO clicks ({', '.join(COLUMNS)}) VALUES ({places})", made)
    messages = [
        (number.to_bytes(8, "big"), 0, f"<{number}@x>", None, "請求書 invoice", 0, 1, True, None)
        for number in range(count // 100)
    ]
    connection.executemany(
        "INSERT INTO messages (ref, time, message_id, sender_ref, subject, direction, size, complete, worst_level) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        messages,
    )
    if revision >= "0004":  # from there on the service keeps the pairs of characters itself
        connection.executemany("INSERT INTO subject_grams VALUES ('請求', ?)", [(row[0],) for row in messages])
    wrapper = "https://urldefense.com/v3/__https://deep.evil.example/x__;!!org!id$"
    links = [
        (number.to_bytes(8, "big"), "1", "a", wrapper if number % 2 else "https://www.shop.example/", "h", "d")
        for number in range(count // 100)
    ]
    connection.executemany(
        "INSERT INTO links (message_ref, part, kind, url, spelling, host, domain, outcome, reason) "
        "VALUES (?, ?, ?, ?, '', ?, ?, 'rewritten', 'sealed')",
        links,
    )
    if revision >= "0005":  # and what stands in wrappers
        connection.execute(
            "INSERT INTO inner_hosts (link, host, domain) "
            "SELECT id, 'deep.evil.example', 'evil.example' FROM links WHERE url LIKE '%urldefense%'"
        )
    connection.commit()
    connection.close()


def contents(path: Path) -> dict[str, tuple[int, str]]:
    """Rows and checksum of each table that the first schema had."""
    connection = sqlite3.connect(path)
    found = {}
    for table, order in (("clicks", "seq"), ("messages", "ref"), ("links", "id")):
        columns = {"clicks": ", ".join(COLUMNS), "messages": "ref, time, message_id, subject", "links": "*"}[table]
        digest = hashlib.sha256()
        count = 0
        for row in connection.execute(f"SELECT {columns} FROM {table} ORDER BY {order}"):
            digest.update(repr(row).encode())
            count += 1
        found[table] = (count, digest.hexdigest())
    connection.close()
    return found


def one(path: Path, query: str) -> object:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchone()[0]
    finally:
        connection.close()


@pytest.mark.parametrize("revision", EARLIER)
def test_no_row_is_lost(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "toc.db"
    filled(path, revision, ROWS)
    before = contents(path)
    engine.upgrade(f"sqlite:///{path}")
    assert contents(path) == before
    assert before["clicks"][0] == ROWS
    assert one(path, "SELECT count(*) FROM urls") == ROWS // 3
    assert one(path, "SELECT count(*) FROM urls_text WHERE urls_text MATCH '\"op.exa\"'") == ROWS // 3
    assert one(path, "SELECT count(*) FROM subject_grams WHERE gram = '請求'") == ROWS // 100
    assert one(path, "SELECT count(*) FROM inner_hosts WHERE domain = 'evil.example'") == ROWS // 200
    assert one(path, "PRAGMA integrity_check") == "ok"


@pytest.mark.parametrize("milliseconds", [200, 500, 800, 1100, 1500])
def test_a_killed_upgrade_is_done_again(tmp_path: Path, milliseconds: int) -> None:
    path = tmp_path / "toc.db"
    filled(path, "0001", 20_000)
    before = contents(path)
    code = f"from toc.store import engine; engine.upgrade('sqlite:///{path}')"
    process = subprocess.Popen([sys.executable, "-c", code])
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGKILL)
    process.wait()
    engine.upgrade(f"sqlite:///{path}")
    assert contents(path) == before
    assert one(path, "PRAGMA integrity_check") == "ok"
    assert one(path, "SELECT count(*) FROM urls") == 20_000 // 3


class Stopped(Exception):
    pass


def test_wherever_an_upgrade_stops_it_is_done_again(tmp_path: Path) -> None:
    """Before each of its statements; a step is whole or not there."""
    filled(tmp_path / "old.db", "0001", 300)
    done = False
    for last in itertools.count():
        if done:
            break
        path = tmp_path / f"{last}.db"
        shutil.copy(tmp_path / "old.db", path)
        before = contents(path)
        done = not _stops_before(last, f"sqlite:///{path}")
        engine.upgrade(f"sqlite:///{path}")
        assert contents(path) == before
        assert one(path, "SELECT count(*) FROM urls") == 100
    assert last > 30, "as many statements as there are"


def _stops_before(number: int, url: str) -> bool:
    """Whether there was such a statement."""
    left = number

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stopped

    event.listen(Engine, "before_cursor_execute", count)
    try:
        engine.upgrade(url)
    except Stopped:
        return True
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    return False


def test_no_row_is_lost_on_postgresql(postgres_server: str) -> None:
    url = empty(postgres_server, f"m{time.time_ns()}")
    command.upgrade(engine._alembic(url), "0001")
    names = ", ".join(COLUMNS)
    places = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))

    async def fill() -> str:
        connection = await asyncpg.connect(url)
        await connection.executemany(f"INSERT INTO clicks ({names}) VALUES ({places})", rows(range(2000)))
        await connection.execute(
            "INSERT INTO messages VALUES ('\\x01', 0, '<1@x>', NULL, '請求書 invoice', 0, 1, true, NULL)"
        )
        await connection.close()
        return await digest()

    async def digest() -> str:
        connection = await asyncpg.connect(url)
        found = await connection.fetch(f"SELECT {names} FROM clicks ORDER BY seq")
        mails = await connection.fetch("SELECT ref, message_id, subject FROM messages")
        await connection.close()
        assert (len(found), len(mails)) == (2000, 1)
        return hashlib.sha256(repr([*found, *mails]).encode()).hexdigest()

    before = asyncio.run(fill())
    engine.upgrade(url)
    assert asyncio.run(digest()) == before


def test_a_role_that_may_add_no_extension_still_gets_its_schema(postgres_server):
    """Searches then read the table; everything else is as ever."""
    url = empty(postgres_server, f"t{time.time_ns()}")

    async def prepare() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE ROLE plain LOGIN")
        await connection.execute("GRANT ALL ON SCHEMA public TO plain")
        await connection.close()

    async def ask() -> list[str]:
        connection = await asyncpg.connect(mine)
        names = await connection.fetch("SELECT indexname FROM pg_indexes WHERE tablename = 'clicks'")
        revision = await connection.fetchval("SELECT version_num FROM alembic_version")
        await connection.close()
        return [*(row[0] for row in names), revision]

    asyncio.run(prepare())
    mine = url.replace("//toc@", "//plain@")
    engine.upgrade(mine)
    found = asyncio.run(ask())
    assert "clicks_url" not in found
    assert {"clicks_host", "clicks_whole_address", engine.revision(mine)} <= set(found)
    assert record_data.stored(mine) == []

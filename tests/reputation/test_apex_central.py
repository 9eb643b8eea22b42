"""Synchronisation with Apex Central, against a local server that checks each signature as the console does.

Invariants: after a synchronisation our objects of that source are theirs; what people added here stays; an object never
goes round in circles; a console that answers nonsense, or suddenly nothing, changes nothing here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from sqlalchemy.ext.asyncio import AsyncEngine

from reputation import object_store
from reputation.apex_central import MARK, PATH, SOURCE, Row, objects_of, plan, token
from reputation.breaker import SourceError
from reputation.objects import Object, parse_object
from tests.redirector.databases import sqlite_database
from tests.reputation.http_server import Request, Response, http_server
from tests.reputation.installation import installed
from toc import audit, snapshot
from toc.errors import ListError
from toc.store.engine import open_async
from toc.synchronising import Report, synchronise, synchronise_for_ever

NOW = datetime(2026, 3, 1, tzinfo=UTC)
APPLICATION, KEY = "7F1A0B3C-0000-0000-0000-000000000001", "A1B2C3D4-KEY"


class Console:
    """The user-defined suspicious objects of a console. `rows` are its objects, `calls` what was asked of it."""

    def __init__(self, *rows: dict) -> None:
        self.rows = list(rows)
        self.calls: list[str] = []
        self.answer: Response | None = None

    def __call__(self, request: Request) -> Response:
        if self.answer is not None:
            return self.answer
        if request.path.rstrip("/") != PATH:
            return Response(404)
        if (wrong := self._unsigned(request)) is not None:
            return self._meta(0, -1, wrong, None, 401)
        self.calls.append(request.method)
        match request.method:
            case "GET":
                return self._meta(1, 0, "", self.rows)
            case "PUT":
                item = json.loads(request.body)["param"]
                if item["type"] not in ("url", "domain", "ip", "file_sha1") or len(item["notes"]) > 256:
                    return self._meta(0, -2, "invalid parameter", None)
                self._drop(item)
                self.rows.append({"expiration_utc_date": "None", **item})
            case "DELETE":
                self._drop(dict(request.query))
        return self._meta(1, 0, "", [])

    def _drop(self, item: dict) -> None:
        same = [row for row in self.rows if (row["type"], row["content"]) == (item["type"], item["content"])]
        for row in same:
            self.rows.remove(row)

    def _unsigned(self, request: Request) -> str | None:
        """What is wrong with the token; written from the console's documents, not from our client."""
        head, claims, signature = request.headers["authorization"].removeprefix("Bearer ").split(".")
        expected = hmac.new(KEY.encode(), f"{head}.{claims}".encode(), hashlib.sha256).digest()
        if base64.urlsafe_b64encode(expected).decode().rstrip("=") != signature:
            return "signature"
        said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        text = request.method + "|" + request.target.lower() + "||" + request.body.decode()
        checksum = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        if said["checksum"] != checksum or said["version"] != "V1" or said["appid"] != APPLICATION:
            return "checksum"
        return None if abs(time.time() - said["iat"]) < 60 else "too old"

    @staticmethod
    def _meta(result: int, code: int, message: str, data: object, status: int = 200) -> Response:
        document = {"Data": data, "Meta": {"Result": result, "ErrorCode": code, "ErrorMsg": message}}
        return Response(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def theirs(kind: str, content: str, action: str = "block", notes: str = "", until: str = "None") -> dict:
    return {"type": kind, "content": content, "notes": notes, "scan_action": action, "expiration_utc_date": until}


def ours(kind: str, value: str, action: str = "block", **more: object) -> Object:
    return parse_object({"type": kind, "value": value, "action": action, **more}, object_id=value[:32], created=NOW)


class House:
    """Our side: a database with objects, and the settings."""

    def __init__(self, folder: Path, engine: AsyncEngine, base: str, push: bool, key: str) -> None:
        self.engine = engine
        settings = f'[reputation.apex_central]\nurl = "{base}"\napplication_id = "{APPLICATION}"\napi_key = "{key}"\n'
        self.config = installed(folder, settings + f"push = {str(push).lower()}\n").config

    async def sync(self) -> Report:
        ids = itertools.count(1)
        return await synchronise(self.config, self.engine, lambda: f"sync-{time.time_ns()}-{next(ids)}"[-32:])

    async def add(self, *objects: Object) -> None:
        async with self.engine.begin() as connection:
            await object_store.add_many(connection, objects, actor="test", now=NOW)

    async def objects(self) -> set[tuple[str, str, str, str]]:
        async with self.engine.connect() as connection:
            found = await object_store.everything(connection)
        return {(item.type, item.value, item.action, item.source) for item in found}

    async def counter(self) -> int:
        async with self.engine.connect() as connection:
            return (await snapshot.counters(connection)).get("objects", 0)


@asynccontextmanager
async def house(folder: Path, console: Console, *, push: bool = False, key: str = KEY) -> AsyncIterator[House]:
    engine = open_async(await asyncio.to_thread(sqlite_database, folder))
    try:
        async with http_server(console) as base:
            yield House(folder, engine, base, push, key)
    finally:
        await engine.dispose()


async def test_their_objects_come_here_and_go_again(tmp_path):
    console = Console(
        theirs("url", "http://evil.example:80/a", notes="seen in the sandbox", until="2099-03-26T12:26:49.753"),
        theirs("domain", "Bad.Example", "log"),
        theirs("ip", "192.0.2.7"),
        theirs("file", "A" * 40, "quarantine"),
        theirs("file", "a" * 40, "log"),
        theirs("ip", "XXX.XX.XXX.XXX"),
    )
    async with house(tmp_path, console) as home:
        report = await home.sync()
        assert await home.objects() == {
            ("url", "http://evil.example/a", "block", SOURCE),
            ("domain", "bad.example", "log", SOURCE),
            ("ip", "192.0.2.7", "block", SOURCE),
            ("file_sha1", "a" * 40, "log", SOURCE),
        }
        assert (report.changes.added, len(report.refused)) == (4, 2)
        assert [line.partition(":")[0] for line in report.refused] == ["file " + "A" * 40, "ip XXX.XX.XXX.XXX"]
        console.rows = [theirs("domain", "bad.example", "block"), *console.rows[2:3], *console.rows[4:5]]
        report = await home.sync()
        assert ("domain", "bad.example", "block", SOURCE) in await home.objects()
        assert (report.changes.added, report.changes.removed) == (1, 2)
        assert console.calls == ["GET", "GET"]


async def test_the_metric_says_how_the_last_time_went(tmp_path):
    """From the start on, before anything is known."""

    def shown(home: House) -> float | None:
        server = home.config.reputation.apex_central.url
        return REGISTRY.get_sample_value("toc_apex_central_failed", {"server": server})

    for key, seen, after in ((KEY, 1, 0.0), ("wrong", 0, 1.0)):
        (tmp_path / key).mkdir()
        console = Console(theirs("domain", "a.example"))
        async with house(tmp_path / key, console, key=key) as home:
            assert shown(home) is None
            task = asyncio.create_task(synchronise_for_ever(home.config, home.engine, lambda: f"sync-{time.time_ns()}"))
            await asyncio.sleep(0)
            assert (shown(home), console.calls) == (0.0, [])
            for _ in range(1000):
                await asyncio.sleep(0.02)
                if (len(console.calls), shown(home)) == (seen, after):
                    break
            else:
                pytest.fail(f"{console.calls} {shown(home)}")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_nothing_new_moves_nothing(tmp_path):
    async with house(tmp_path, Console(theirs("domain", "a.example"))) as home:
        await home.sync()
        before = await home.counter()
        assert (await home.sync()).changes == object_store.Changes(0, 0, 0)
        assert await home.counter() == before
        async with home.engine.connect() as connection:
            (row,) = await audit.page(connection, 10)
        assert (row["verb"], row["subject"]) == ("objects_synchronised", SOURCE)


async def test_what_people_added_here_stays(tmp_path):
    console = Console(theirs("domain", "a.example", notes="theirs"), theirs("domain", "b.example"))
    async with house(tmp_path, console) as home:
        await home.add(ours("domain", "a.example", note="ours"), ours("domain", "good.example", "allow"))
        await home.sync()
        console.rows = [theirs("domain", "b.example")]
        await home.sync()
        assert await home.objects() == {
            ("domain", "a.example", "block", ""),
            ("domain", "good.example", "allow", ""),
            ("domain", "b.example", "block", SOURCE),
        }


async def test_our_objects_go_there_and_are_taken_away_again_and_never_come_back(tmp_path):
    console = Console(theirs("domain", "their.example"), theirs("domain", "both.example", "log", "theirs"))
    until = datetime.now(UTC) + timedelta(days=3)
    async with house(tmp_path, console, push=True) as home:
        await home.add(
            ours("domain", "evil.example", note="ticket 7", expires=until),
            ours("url", "http://evil.example/A?b=C&d", "log"),
            ours("ip", "192.0.2.7"),
            ours("file_sha1", "a" * 40),
            ours("domain", "both.example"),
            ours("domain", "*.wild.example"),
            ours("ip", "192.0.2.0/24"),
            ours("domain", "good.example", "allow"),
            ours("domain", "odd.example", "warn"),
            ours("file_sha256", "b" * 64),
            ours("domain", "old.example", expires=NOW),
        )
        report = await home.sync()
        assert (report.put, report.taken_away) == (4, 0)
        put = {
            (row["type"], row["content"], row["scan_action"]) for row in console.rows if row["notes"].startswith(MARK)
        }
        assert put == {
            ("domain", "evil.example", "block"),
            ("url", "http://evil.example/A?b=C&d", "log"),
            ("ip", "192.0.2.7", "block"),
            ("file_sha1", "a" * 40, "block"),
        }
        assert {row["notes"] for row in console.rows if row["content"] == "both.example"} == {"theirs"}
        again = await home.sync()
        assert (again.put, again.taken_away, again.changes) == (0, 0, object_store.Changes(0, 0, 0))
        async with home.engine.begin() as connection:
            await object_store.remove(connection, "evil.example", actor="test", now=NOW)
            await object_store.add(connection, ours("ip", "192.0.2.7", note="new"), actor="test", now=NOW)
        last = await home.sync()
        assert (last.put, last.taken_away) == (1, 1)
        assert ("domain", "their.example") in {(row["type"], row["content"]) for row in console.rows}
        assert len(await home.objects()) == 12  # ten of ours are left, two are theirs


async def test_a_wrong_key_changes_nothing(tmp_path):
    async with house(tmp_path, Console(theirs("domain", "a.example")), key="wrong") as home:
        with pytest.raises(SourceError, match="401"):
            await home.sync()
        assert await home.objects() == set()


BROKEN = [
    Response(500),
    Response(302, headers={"Location": "http://127.0.0.1:1/"}),
    Response(200, b""),
    Response(200, b"<html>"),
    Response(200, b"[]"),
    Response(200, b'{"Data": [], "Meta": {}}'),
    Response(200, b'{"Data": [], "Meta": {"Result": 0, "ErrorCode": -2, "ErrorMsg": "no"}}'),
    Response(200, b'{"Data": null, "Meta": {"Result": 1, "ErrorCode": 0}}'),
    Response(200, b'{"Data": [1], "Meta": {"Result": 1, "ErrorCode": 0}}'),
]


@pytest.mark.parametrize("answer", BROKEN, ids=lambda answer: f"{answer.status} {answer.body[:30]!r}")
async def test_a_broken_answer_changes_nothing(tmp_path, answer):
    console = Console(theirs("domain", "a.example"))
    async with house(tmp_path, console, push=True) as home:
        await home.sync()
        before = await home.objects()
        console.answer = answer
        with pytest.raises(SourceError):
            await home.sync()
        assert await home.objects() == before


@pytest.mark.parametrize("left", [0, 40])
async def test_a_console_that_suddenly_has_little_or_nothing_is_not_believed(tmp_path, left):
    console = Console(*(theirs("domain", f"h{number}.example") for number in range(120)))
    async with house(tmp_path, console) as home:
        await home.sync()
        console.rows = console.rows[:left]
        with pytest.raises(ListError):
            await home.sync()
        assert len(await home.objects()) == 120


async def test_a_console_whose_last_objects_were_taken_away_is_believed(tmp_path):
    console = Console(theirs("domain", "a.example"))
    async with house(tmp_path, console) as home:
        await home.sync()
        console.rows = []
        assert (await home.sync()).changes.removed == 1


def test_the_token_is_the_one_of_the_documents():
    """Known answer, computed by hand from the parts that the documents name."""
    made = token("key", "app", ("GET", PATH, ""), 1700000000.9)
    head, claims, signature = made.split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"typ": "JWT", "alg": "HS256"}
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["iat"] == 1700000000
    digest = hashlib.sha256(b"GET|/webapp/api/suspiciousobjects/userdefinedso||").digest()
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["checksum"] == base64.b64encode(digest).decode()
    expected = hmac.new(b"key", f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected


def test_the_same_object_twice_is_one():
    rows = [Row("domain", "A.example", scan_action="block"), Row("domain", "a.example.", scan_action="block")]
    ids = map(str, itertools.count())
    found, refused = objects_of(rows, new_id=lambda: next(ids), created=NOW)
    assert (len(found), refused) == (1, [])


def test_what_was_changed_there_by_hand_is_put_right_and_what_is_theirs_is_left():
    mine = ours("domain", "a.example", note="why")
    (wanted,), _ = plan([mine], [], NOW)
    assert plan([mine], [wanted], NOW) == ([], [])
    assert plan([mine], [replace(wanted, scan_action="log")], NOW) == ([wanted], [])
    assert plan([mine], [replace(wanted, notes="theirs", scan_action="log")], NOW) == ([], [])
    assert plan([], [wanted, Row("domain", "b.example")], NOW) == ([], [wanted])

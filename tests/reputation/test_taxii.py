"""TAXII 2.1 against a real server, medallion. Invariants: after the first time only what is new is asked for, and the list is
the same as if all had been fetched; a refused refresh forgets nothing; what was deleted falls out with the next full fetch.
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from reputation.collect import FULL_DAYS, TAXII_MEDIA, Login, TaxiiMemory
from reputation.feeds import MEMORY, Feed, RefreshReport, refresh
from reputation.fetch import Limits
from reputation.generations import open_current
from tests.ports import free_port
from tests.reputation.http_server import Request, Response, http_server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COLLECTION = "365fed99-08fa-4fdc-a1b3-fb247eb41d01"
LOGIN = Login("reader", "secret")
LIMITS = Limits(connect=5.0, silence=5.0, total=20.0, attempts=1)


def indicator(number: int, version: int = 0, **more) -> dict:
    stamp = f"2026-01-01T00:00:{version:02}.000Z"
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": stamp,
        "pattern": f"[domain-name:value = 'x{number}.example']",
        "pattern_type": "stix",
        "valid_from": "2026-01-01T00:00:00Z",
        **more,
    }


class Medallion:
    """The process, its collection, and what it was asked."""

    def __init__(self, root: str, log: Path) -> None:
        self.url = f"{root}/trustgroup1/collections/{COLLECTION}/"
        self._log = log

    def add(self, *objects: dict) -> None:
        answer = httpx.post(
            self.url + "objects/",
            content=json.dumps({"objects": objects}),
            headers={"Content-Type": TAXII_MEDIA, "Accept": TAXII_MEDIA},
            auth=("reader", "secret"),
        )
        assert answer.status_code == 202, answer.text

    def delete(self, item: dict) -> None:
        place = f"{self.url}objects/{item['id']}/"
        assert httpx.delete(place, auth=("reader", "secret"), headers={"Accept": TAXII_MEDIA}).status_code == 200

    def asked(self) -> list[str]:
        return [line.split('"')[1] for line in self._log.read_text().splitlines() if '"GET /trustgroup1/' in line]


@pytest.fixture
def medallion(tmp_path: Path) -> Iterator[Medallion]:
    if importlib.util.find_spec("medallion") is None:
        pytest.skip("medallion is not installed; scripts/install dev installs it")
    port = free_port()
    root = f"http://127.0.0.1:{port}"
    collection = {
        "id": COLLECTION, "title": "test", "can_read": True, "can_write": True,
        "media_types": ["application/stix+json;version=2.1"], "objects": [], "manifest": [],
    }  # fmt: skip
    data = {
        "/discovery": {"title": "test", "default": root + "/trustgroup1/", "api_roots": [root + "/trustgroup1/"]},
        "trustgroup1": {
            "information": {"title": "test", "versions": [TAXII_MEDIA], "max_content_length": 9765625},
            "status": [],
            "collections": [collection],
        },
    }
    (tmp_path / "data.json").write_text(json.dumps(data))
    backend = {
        "module": "medallion.backends.memory_backend",
        "module_class": "MemoryBackend",
        "filename": str(tmp_path / "data.json"),
    }
    (tmp_path / "config.json").write_text(
        json.dumps({"backend": backend, "users": {"reader": "secret"}, "taxii": {"max_page_size": 3}})
    )
    command = [sys.executable, "-W", "ignore", "-m", "medallion.scripts.run", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, str(tmp_path / "config.json")], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                httpx.get(root + "/taxii2/", headers={"Accept": TAXII_MEDIA}, auth=("reader", "secret"))
                break
            except httpx.TransportError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < end
                time.sleep(0.1)
        yield Medallion(root, tmp_path / "log")
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as opened:
        yield opened


async def run(
    url: str, folder: Path, client: httpx.AsyncClient, now: datetime = NOW, **more
) -> tuple[RefreshReport, set[str]]:
    feed = Feed("taxii", url, "taxii", login=more.pop("login", LOGIN), **more)
    report = await refresh(feed, folder, now, client, rng=random.Random(1), limits=LIMITS)
    assert report.outcome != "refused" or (folder / "taxii" / "current").exists(), report
    return report, listed(folder)


def listed(folder: Path) -> set[str]:
    """Hosts of the list in use, as its file spells them."""
    index = open_current(folder / "taxii")
    text = bytes(index.path.read_bytes()[index.header.offsets[0] :][: index.header.sizes[0]]).decode()
    return {line.split("\t")[1] for line in text.splitlines()}


async def test_a_collection_grows_by_what_was_added_since(medallion, tmp_path, client):
    lists = tmp_path / "lists"
    medallion.add(*(indicator(number) for number in range(8)))
    report, hosts = await run(medallion.url, lists, client)
    assert (report.outcome, hosts) == ("new", {f"x{number}.example" for number in range(8)})
    assert len(medallion.asked()) == 3  # pages of three
    assert not any("added_after" in line for line in medallion.asked())

    report, hosts = await run(medallion.url, lists, client, NOW + timedelta(hours=1))
    assert (report.outcome, len(hosts)) == ("unchanged", 8)
    assert "added_after" in medallion.asked()[-1]

    malware = {**indicator(99), "type": "malware", "id": f"malware--{COLLECTION}"}  # we ask for indicators only
    medallion.add(indicator(8), indicator(9), malware)
    before = len(medallion.asked())
    report, hosts = await run(medallion.url, lists, client, NOW + timedelta(hours=2))
    assert (report.outcome, hosts) == ("new", {f"x{number}.example" for number in range(10)})
    assert len(medallion.asked()) == before + 1


async def test_a_new_version_replaces_the_old_one_and_a_revoked_one_goes(medallion, tmp_path, client):
    lists = tmp_path / "lists"
    medallion.add(*(indicator(number) for number in range(4)))
    await run(medallion.url, lists, client)
    medallion.add(indicator(1, 1, pattern="[domain-name:value = 'moved.example']"), indicator(2, 1, revoked=True))
    _, hosts = await run(medallion.url, lists, client, NOW + timedelta(hours=1))
    assert hosts == {"x0.example", "moved.example", "x3.example"}
    _, again = await run(medallion.url, tmp_path / "others", client)
    assert again == hosts  # as if all had been fetched at once


async def test_after_a_week_all_is_fetched_anew(medallion, tmp_path, client):
    lists = tmp_path / "lists"
    medallion.add(indicator(1), indicator(2))
    await run(medallion.url, lists, client)
    medallion.delete(indicator(1))
    medallion.add(indicator(3))
    _, hosts = await run(medallion.url, lists, client, NOW + timedelta(hours=1))
    assert hosts == {"x1.example", "x2.example", "x3.example"}
    _, hosts = await run(medallion.url, lists, client, NOW + timedelta(days=FULL_DAYS, hours=1))
    assert hosts == {"x2.example", "x3.example"}


async def test_a_refused_refresh_forgets_nothing(medallion, tmp_path, client):
    lists = tmp_path / "lists"
    medallion.add(indicator(1))
    await run(medallion.url, lists, client)
    memory = (lists / "taxii" / MEMORY).read_bytes()
    medallion.add(indicator(2))
    report, hosts = await run(medallion.url, lists, client, canary_misses=("x2.example",))
    assert (report.why, hosts) == ("canary_hit", {"x1.example"})
    assert (lists / "taxii" / MEMORY).read_bytes() == memory
    report, hosts = await run(medallion.url, lists, client)
    assert (report.outcome, hosts) == ("new", {"x1.example", "x2.example"})


@pytest.mark.parametrize("damage", [b"", b"rubbish", b'{"url":1}\n', None])
async def test_a_damaged_or_missing_memory_means_all_anew(medallion, tmp_path, client, damage):
    lists = tmp_path / "lists"
    medallion.add(indicator(1))
    await run(medallion.url, lists, client)
    path = lists / "taxii" / MEMORY
    path.unlink() if damage is None else path.write_bytes(damage)
    medallion.add(indicator(2))
    report, hosts = await run(medallion.url, lists, client)
    assert (report.outcome, hosts) == ("new", {"x1.example", "x2.example"})


async def test_another_collection_starts_from_nothing(medallion, tmp_path, client):
    lists = tmp_path / "lists"
    medallion.add(indicator(1))
    await run(medallion.url, lists, client)
    head = (lists / "taxii" / MEMORY).read_bytes().partition(b"\n")[0]
    assert json.loads(head)["url"] == medallion.url
    assert set(json.loads(head)) == set(TaxiiMemory.__struct_fields__)
    asked = []

    def other(request: Request) -> Response:
        asked.append(request.target)
        return Response(200, json.dumps({"objects": [indicator(7)]}).encode(), {"Content-Type": TAXII_MEDIA})

    async with http_server(other) as base:
        _, hosts = await run(base + "/api/collections/other/", lists, client)
    assert hosts == {"x7.example"}
    assert "added_after" not in asked[0]


async def test_a_wrong_login_is_refused(medallion, tmp_path, client):
    feed = Feed("taxii", medallion.url, "taxii", login=Login("reader", "wrong"))
    report = await refresh(feed, tmp_path / "lists", NOW, client, rng=random.Random(1), limits=LIMITS)
    assert report.why == "status_401"

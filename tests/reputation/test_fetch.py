"""Bytes arrive as they were, within every limit. Bad servers: tests/reputation/test_feeds.py and its fixture."""

from __future__ import annotations

import gzip
import random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reputation.fetch import Fetched, Limits, fetch, unpacked
from tests.reputation.feed_server import feed_server
from toc.errors import ListError

LIMITS = Limits(connect=2, silence=1, total=5, attempts=1)


async def get(url: str, target, **more):
    async with httpx.AsyncClient(trust_env=False) as client:
        return await fetch(url, target, client=client, known=Fetched(None), limits=LIMITS, rng=random.Random(1), **more)


def written(folder, raw: bytes):
    path = folder / "raw"
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 300_000])
@pytest.mark.parametrize("packed", [0, 1, 2])
def test_unpacking_gives_the_bytes_back(size, packed, tmp_path):
    plain = random.Random(size).randbytes(size).replace(b"\x1f", b"a")
    raw = plain
    for _ in range(packed):
        raw = gzip.compress(raw)
    assert b"".join(unpacked(written(tmp_path, raw), 1_000_000)) == plain


@pytest.mark.parametrize("size", [65_536, 131_072, 1_000_000])
def test_bytes_that_pack_well_come_out_whole(size, tmp_path):
    """Much output from little input: what the unpacker still holds at the end is not lost."""
    assert b"".join(unpacked(written(tmp_path, gzip.compress(b"a" * size)), 2_000_000)) == b"a" * size


def test_members_and_padding(tmp_path):
    raw = gzip.compress(b"one ") + gzip.compress(b"two") + bytes(100)
    assert b"".join(unpacked(written(tmp_path, raw), 1000)) == b"one two"


@given(st.binary(max_size=400), st.integers(0, 400))
def test_a_cut_stream_is_never_taken_for_a_whole_one(tmp_path_factory, plain, place):
    whole = gzip.compress(plain, mtime=0)
    if place < 2 or place >= len(whole):
        return
    path = written(tmp_path_factory.mktemp("cut"), whole[:place])
    with pytest.raises(ListError) as caught:
        list(unpacked(path, 1000))
    assert caught.value.facts["why"] in ("gzip_cut", "gzip_broken")


async def test_a_redirect_is_followed_and_a_login_stays_at_its_host(tmp_path):
    async with feed_server() as first, feed_server() as second:
        first.pages["/a"] = {"status": 302, "headers": {"Location": "/b"}}
        first.pages["/b"] = {"status": 307, "headers": {"Location": f"{second.base}/c"}}
        second.pages["/c"] = {"body": {"text": "x.example"}}
        found = await get(f"{first.base}/a", tmp_path / "t", headers={"Authorization": "Bearer secret"})
        assert found.path is not None
        assert found.path.read_bytes() == b"x.example"
        assert [headers.get("authorization") for _, headers in first.seen] == ["bearer secret"] * 2
        assert "authorization" not in second.seen[0][1]


@pytest.mark.parametrize("url", ["ftp://h.example/x", "data:,x", "javascript:1"])
async def test_other_schemes_are_refused(url, tmp_path):
    with pytest.raises(ListError, match="not by"):
        await get(url, tmp_path / "t")


async def test_a_closed_port_is_named(tmp_path):
    async with feed_server() as server:
        base = server.base
    with pytest.raises(ListError) as caught:
        await get(f"{base}/x", tmp_path / "t")
    assert caught.value.facts["why"] == "unreachable"


async def test_a_folder_is_no_feed(tmp_path):
    with pytest.raises(ListError, match="no file"):
        await get(tmp_path.as_uri(), tmp_path / "t")

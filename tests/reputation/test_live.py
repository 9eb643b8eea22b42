"""All live sources hung, reset, slow or talking nonsense: a verdict all the same, and it says who was silent.

The settings decide which sources there are; the servers are on loopback; the road is the one that a click takes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from tests.reputation.bad_servers import HOW, bad_server
from tests.reputation.installation import installed
from toc.errors import ConfigError
from toc.knowledge import Knowledge
from toc.live import live_sources
from toc.policy import DEFAULT, Action, decide
from toc.refreshing import feeds_of, new_client, refresh_one
from toc.token import Sealed
from toc.url import parse
from toc.verdict import Level, Verdict

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = """
[reputation]
deadline_ms = 50
[[reputation.dns]]
name = "dbl"
zone = "dbl.test"
nameserver = "127.0.0.1:{port}"
[[reputation.dns]]
name = "policy"
zone = "rpz.test"
kind = "rpz"
nameserver = "127.0.0.1:{port}"
required = true
[reputation.safe_browsing]
api_key = "key"
url = "http://127.0.0.1:{port}"
[[reputation.peers]]
name = "peer"
servers = ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}/second"]
timeout_ms = 20
"""
NAMES = {"dbl", "policy", "safe-browsing", "peer"}


async def verdict(known: Knowledge, url: str = "http://evil.example/") -> Verdict:
    async with asyncio.timeout(20):  # the test ends in any case; what the deadline does is asserted below
        return await known.full(parse(url), NOW)


def under_way() -> list[asyncio.Task[None]]:
    return [task for task in asyncio.all_tasks() if task.get_name().startswith("ask ")]


async def settle() -> None:
    """Until nothing is under way: every question ends by itself."""
    if tasks := under_way():
        await asyncio.wait(tasks)


@pytest.mark.parametrize("how", HOW)
async def test_a_verdict_comes_whatever_the_sources_do(how, tmp_path):
    async with bad_server(how) as port:
        startup = installed(tmp_path, SETTINGS.format(port=port))
        live = live_sources(startup.config)
        known = Knowledge(startup, live=live)
        found = await verdict(known)
        assert set(found.silent) == NAMES
        assert found.required == ("policy",)
        assert (found.level, found.matches) == (Level.UNTESTED, ())
        decision = decide(Sealed(found.forms[0], NOW), found, DEFAULT, now=NOW)
        assert (decision.action, "source_silent" in decision.reasons) == (Action.WARN, True)
        if how in ("hung", "slow"):  # nobody answered, and the verdict did not wait for it
            assert under_way()
        for source in live:
            await source.close()


async def test_the_breakers_open_and_the_sources_stay_named(tmp_path):
    async with bad_server("reset") as port:
        startup = installed(tmp_path, SETTINGS.format(port=port))
        live = live_sources(startup.config)
        known = Knowledge(startup, live=live)
        for number in range(6):
            assert set((await verdict(known, f"http://h{number}.example/")).silent) == NAMES
            await settle()
        assert all(source.breaker.is_open(asyncio.get_running_loop().time()) for source in live)
        assert all(source.last_error for source in live)
        assert set((await verdict(known)).silent) == NAMES
        assert not under_way()


async def test_a_threat_on_our_own_lists_counts_whatever_the_sources_do(tmp_path):
    (tmp_path / "bad.txt").write_text("evil.example\n")
    async with bad_server("hung") as port:
        feed = '\n[[reputation.feeds]]\nname = "own"\nurl = "bad.txt"\nformat = "domain_list"\n'
        startup = installed(tmp_path, SETTINGS.format(port=port) + feed)
        async with new_client() as client:
            await refresh_one(feeds_of(startup.config)[0], startup.config, client)
        live = live_sources(startup.config)
        found = await verdict(Knowledge(startup, live=live))
        assert (found.level, set(found.silent)) == (Level.DANGEROUS, NAMES)
        for source in live:
            await source.close()


RESOLVERS = [
    "192.0.2.1",
    "192.0.2.1:5353",
    "2001:db8::1",
    "2001:db8::53:1",
    "[2001:db8::1]",
    "[2001:db8::1]:5353",
    "fe80::1%lo",
]
ONE_LIST = '[[reputation.dns]]\nname = "dbl"\nzone = "dbl.test"\nnameserver = "{}"\n'


@pytest.mark.parametrize("text", RESOLVERS)
async def test_a_resolver_by_address(text, tmp_path):
    (source,) = live_sources(installed(tmp_path, ONE_LIST.format(text)).config)
    await source.close()


@pytest.mark.parametrize(
    "text", ["localhost", "localhost:53", ":53", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "1:2"]
)
def test_a_resolver_that_is_no_address_is_refused_at_the_start(text, tmp_path):
    with pytest.raises(ConfigError, match="ADDRESS:PORT"):
        live_sources(installed(tmp_path, ONE_LIST.format(text)).config)

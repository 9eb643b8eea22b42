"""Limits for bad requests, and whose request it is.

Invariants: a network gets its burst and then its rate, and no other network pays for it; memory is bounded; a header is
believed from listed proxies alone, hop by hop.
"""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector import rate
from redirector.rate import RateLimiter, client_of, network_of

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
PROXIES = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "fd00::/8")))
ADDRESSES = st.ip_addresses().map(str)


def taken(limiter: RateLimiter, client: str, now: float, count: int) -> int:
    return sum(limiter.take(client, now) for _ in range(count))


def test_a_network_gets_its_burst_then_its_rate() -> None:
    limiter = RateLimiter(5, 20, ())
    assert taken(limiter, "203.0.113.1", 0.0, 100) == 20
    assert taken(limiter, "203.0.113.200", 0.0, 10) == 0, "the /24 shares"
    assert taken(limiter, "203.0.113.1", 1.0, 100) == 5
    assert taken(limiter, "203.0.113.1", 1000.0, 100) == 20, "never more than the burst at once"


def test_no_other_network_pays() -> None:
    limiter = RateLimiter(5, 20, ())
    taken(limiter, "203.0.113.1", 0.0, 100)
    for other in ("203.0.114.1", "2001:db8::1", "", "unix"):
        assert taken(limiter, other, 0.0, 100) == 20, other


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 8)), max_size=30))
def test_over_any_time_no_more_than_burst_and_rate(steps: list[tuple[float, int]]) -> None:
    limiter, now, count = RateLimiter(4, 10, ()), 100.0, 0
    for wait, asked in steps:
        now += wait
        count += taken(limiter, "203.0.113.1", now, asked)
    assert count <= 10 + 4 * (now - 100.0) + 1e-6


@pytest.mark.parametrize("client", ["127.0.0.1", "127.9.9.9", "::1", "10.2.3.4", "fd00::7"])
def test_loopback_and_proxies_are_exempt(client: str) -> None:
    assert taken(RateLimiter(1, 1, PROXIES), client, 0.0, 50) == 50


def test_many_networks_take_bounded_memory_and_the_busy_one_stays_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "MAX_BUCKETS", 100)
    limiter = RateLimiter(1, 3, ())
    for number in range(1000):
        limiter.take(f"10.{number // 250}.{number % 250}.1", 0.0)
        limiter.take("203.0.113.1", 0.0)
    assert len(limiter._buckets) <= 100
    assert not limiter.take("203.0.113.1", 0.0)


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"),
        ("::ffff:203.0.113.77", "203.0.113.0/24"),  # one client, whichever socket it reached
        ("2001:db8:1:23ff::9", "2001:db8:1:2300::/56"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_networks(client: str, network: str) -> None:
    assert network_of(client) == network


@pytest.mark.parametrize(
    ("peer", "header", "client", "why"),
    [
        ("203.0.113.1", "198.51.100.9", "203.0.113.1", "a peer that is not listed says nothing about others"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9", "a listed one does"),
        (
            "10.0.0.1",
            "1.2.3.4, 198.51.100.9",
            "198.51.100.9",
            "what the client wrote before the proxy is its own claim",
        ),
        ("10.0.0.1", "1.2.3.4, 198.51.100.9, 10.0.0.2", "198.51.100.9", "two proxies in a row"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3", "a client within"),
        ("10.0.0.1", "", "10.0.0.1", "an empty header"),
        ("10.0.0.1", "evil\r\nX: y", "10.0.0.1", "no address"),
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1", "behind something unknown nothing is believed"),
        ("10.0.0.1", "[2001:db8::7]", "2001:db8::7", "brackets"),
        ("fd00::1", "2001:db8::7", "2001:db8::7", "a proxy with IPv6"),
        ("10.0.0.1", "1.2.3.4:5555", "1.2.3.4", "some proxies add the port"),
        ("10.0.0.1", "[2001:db8::7]:5555", "2001:db8::7", "and so for IPv6"),
    ],
)
def test_whose_request_it_is(peer: str, header: str, client: str, why: str) -> None:
    assert client_of(peer, header, PROXIES) == client, why


@given(ADDRESSES, st.text("0123456789abcdef.:, []x", max_size=60))
def test_a_forged_header_never_changes_who_an_unlisted_peer_is(peer: str, header: str) -> None:
    if not any(ipaddress.ip_address(peer) in network for network in PROXIES):
        assert client_of(peer, header, PROXIES) == peer


@given(st.text(max_size=80))
def test_whatever_a_proxy_sends_the_client_is_an_address(header: str) -> None:
    ipaddress.ip_address(client_of("10.0.0.1", header, PROXIES))

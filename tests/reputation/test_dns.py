"""DNS lists and policy zones, against the servers that operators run: rbldnsd and BIND.

Invariants: an error code of a list is an error, never a hit; a name that does not exist is not a hit; only host and
registrable domain are asked for, never path or query.
"""

from __future__ import annotations

import dns.message
import pytest

from reputation.breaker import Found, SourceError
from reputation.dns import MAX_TTL, MIN_TTL, DnsList, Nameserver, can_ask, ttl
from reputation.forms import Reading
from reputation.rpz import Rpz
from tests.ports import free_port
from tests.reputation.dns_servers import bind, rbldnsd
from toc.url import parse
from toc.verdict import Level, ThreatType

__all__ = ["bind", "rbldnsd"]


def names(port: int) -> DnsList:
    return DnsList("dbl", "dbl.test", Nameserver("127.0.0.1", port), ThreatType.OTHER, Level.DANGEROUS)


async def asked(source: DnsList | Rpz, url: str) -> dict[str, Found]:
    return await source.fetch(source.keys(Reading(parse(url))))


LISTED = [
    ("http://evil.example/secret?token=1", [("evil.example = 127.0.1.4", ThreatType.PHISHING)]),
    ("http://www.evil.example/", [("evil.example = 127.0.1.4", ThreatType.PHISHING)]),  # by its registrable domain
    ("http://a.wild.example/", [("a.wild.example = 127.0.1.4", ThreatType.PHISHING),
                                ("wild.example = 127.0.1.4", ThreatType.PHISHING)]),
    ("http://spam.example/", [("spam.example = 127.0.1.2", ThreatType.SPAM)]),
    ("http://old.example/", [("old.example = 127.0.0.2", ThreatType.OTHER)]),  # a code of no table: the setting's
    ("http://fine.example/", []),
    ("http://notevil.example/", []),
]  # fmt: skip


@pytest.mark.parametrize(("url", "expected"), LISTED)
async def test_what_a_list_says(rbldnsd, url, expected):
    found = await asked(names(rbldnsd), url)
    assert [(match.entry, match.threat) for answer in found.values() for match in answer.matches] == expected
    assert all(MIN_TTL <= answer.seconds <= MAX_TTL for answer in found.values())


@pytest.mark.parametrize("host", ["typo", "open", "flood", "refused", "parked"])
async def test_an_error_code_is_no_hit(rbldnsd, host):
    with pytest.raises(SourceError, match="error at the list's side"):
        await asked(names(rbldnsd), f"http://{host}.example/")


async def test_addresses_are_asked_for_in_reverse_and_only_where_the_list_has_them(rbldnsd):
    server = Nameserver("127.0.0.1", rbldnsd)
    with_addresses = DnsList("ip", "ip.test", server, addresses=True)
    found = await asked(with_addresses, "http://192.0.2.7/")
    assert [match.entry for match in found["7.2.0.192"].matches] == ["7.2.0.192 = 127.0.0.2"]
    assert (await asked(with_addresses, "http://198.51.100.1/"))["1.100.51.198"].matches == ()
    assert names(rbldnsd).keys(Reading(parse("http://192.0.2.7/"))) == ()
    assert with_addresses.keys(Reading(parse("http://[2001:db8::1]/"))) == ()


async def test_a_refused_zone_is_an_error(rbldnsd):
    with pytest.raises(SourceError, match="REFUSED"):
        await asked(DnsList("x", "not.here.test", Nameserver("127.0.0.1", rbldnsd)), "http://evil.example/")


def test_only_hosts_leave_the_house():
    keys = names(1).keys(Reading(parse("http://user:pass@www.evil.example:81/path?query#fragment")))
    assert keys == ("www.evil.example", "evil.example")


@pytest.mark.parametrize(
    "host", ["a" * 64 + ".example", ".".join(["a" * 60] * 5), "a..example", "\u3042" * 70 + ".example"]
)
def test_what_dns_cannot_carry_is_not_asked(host):
    try:
        url = parse(f"http://{host}/")
    except ValueError:
        return
    for key in names(1).keys(Reading(url)):
        assert can_ask(f"{key}.dbl.test")


POLICY = [
    ("http://evil.example/x", True),
    ("http://a.evil.example/", True),
    ("http://nodata.example/", True),
    ("http://walled.example/", True),
    ("http://fine.evil.example/", False),  # passes through
    ("http://good.example/", False),
]


@pytest.mark.parametrize(("url", "listed"), POLICY)
async def test_what_a_resolver_with_a_policy_says(bind, url, listed):
    source = Rpz("rpz", "rpz.test", Nameserver("127.0.0.1", bind), ThreatType.MALWARE, Level.DANGEROUS)
    (found,) = (await asked(source, url)).values()
    assert [(match.entry, match.threat) for match in found.matches] == (
        [(parse(url).host, ThreatType.MALWARE)] if listed else []
    )


async def test_another_policy_zone_is_not_ours(bind):
    source = Rpz("rpz", "other.test", Nameserver("127.0.0.1", bind))
    (found,) = (await asked(source, "http://evil.example/")).values()
    assert found.matches == ()


async def test_nobody_there_is_an_error():
    with pytest.raises(SourceError):
        await asked(names(free_port()), "http://evil.example/")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id 1\nopcode QUERY\nrcode NXDOMAIN\n;QUESTION\na. IN A\n;AUTHORITY\na. 900 IN SOA b. c. 1 2 3 4 60\n", 60),
        ("id 1\nopcode QUERY\nrcode NXDOMAIN\n;QUESTION\na. IN A\n;AUTHORITY\na. 30 IN SOA b. c. 1 2 3 4 60\n", 30),
        ("id 1\nopcode QUERY\nrcode NOERROR\n;QUESTION\na. IN A\n;ANSWER\na. 0 IN A 127.0.0.2\n", MIN_TTL),
        ("id 1\nopcode QUERY\nrcode NOERROR\n;QUESTION\na. IN A\n;ANSWER\na. 999999 IN A 127.0.0.2\n", MAX_TTL),
        ("id 1\nopcode QUERY\nrcode NXDOMAIN\n;QUESTION\na. IN A\n", 300),
    ],
)
def test_how_long_an_answer_may_be_kept(text, expected):
    assert ttl(dns.message.from_text(text)) == expected

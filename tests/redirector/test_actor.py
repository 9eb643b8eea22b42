"""Who clicked.

Invariants: every documented client gets the kind and the row that its fixture line names; no person is ever called
automated, whatever a proxy drops, whatever the language, burst or not; every row of the table is reached by a client.
"""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector.actor import TABLE, Actor, ActorKind, classify

CLIENTS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "fixtures" / "clients.jsonl").read_text("utf-8").splitlines()
]
PEOPLE = [client for client in CLIENTS if client["kind"] == "person"]


def headers_of(client: dict) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in client["headers"].items()}


def classified(client: dict, **changes: object) -> Actor:
    networks = [ipaddress.ip_network(network) for network in client.get("networks", ())]
    burst = bool(changes.get("burst", client.get("burst", False)))
    headers = changes.get("headers", headers_of(client))
    return classify(client["method"], headers, client.get("client", "203.0.113.5"), networks, burst=burst)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client["name"])
def test_documented_client(client: dict) -> None:
    actor = classified(client)
    assert (actor.kind.code, actor.reason) == (client["kind"], client["reason"]), client["why"]


def test_the_fixtures_are_many_and_each_says_where_it_is_from() -> None:
    assert len(CLIENTS) >= 80
    assert len({client["name"] for client in CLIENTS}) == len(CLIENTS)
    assert all(client["source"] and client["why"] for client in CLIENTS)


def test_every_row_is_reached() -> None:
    rows = {reason for _, reason, _ in TABLE} | {"scanner_network", "burst", "unknown_agent"}
    assert {client["reason"] for client in CLIENTS} == rows


@pytest.mark.parametrize("client", PEOPLE, ids=lambda client: client["name"])
def test_no_person_is_called_automated(client: dict) -> None:
    """A burst, or a proxy that drops any one header, makes a person uncertain at most."""
    assert classified(client, burst=True).kind is not ActorKind.AUTOMATED
    headers = headers_of(client)
    for dropped in headers:
        rest = {name: value for name, value in headers.items() if name != dropped}
        assert classified(client, headers=rest).kind is not ActorKind.AUTOMATED, dropped


@given(
    st.sampled_from(PEOPLE),
    st.text("abcdefghijklmnopqrstuvwxyz-,;=.0123456789 *", min_size=1, max_size=60),
    st.dictionaries(
        st.sampled_from([b"referer", b"dnt", b"x-forwarded-for", b"via", b"cookie"]), st.binary(max_size=20), max_size=3
    ),
)
def test_language_and_foreign_headers_never_make_a_person_automated(client: dict, language: str, more: dict) -> None:
    headers = {**headers_of(client), b"accept-language": language.encode(), **more}
    assert classified(client, headers=headers).kind is ActorKind.PERSON


@pytest.mark.parametrize(
    ("address", "listed"),
    [
        ("192.0.2.9", True),
        ("192.0.3.9", False),
        ("2001:db8::9", True),
        ("::ffff:192.0.2.9", False),  # the listener hands on plain addresses; a mapped one is another network
        ("", False),  # a client on a Unix socket has none
        ("not-an-address", False),
    ],
)
def test_networks_of_scanners(address: str, listed: bool) -> None:
    networks = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")]
    actor = classify("GET", headers_of(PEOPLE[0]), address, networks, burst=False)
    assert (actor.reason == "scanner_network") is listed


@given(
    st.text(max_size=8),
    st.dictionaries(st.binary(max_size=20), st.binary(max_size=300), max_size=6),
    st.text(max_size=40),
    st.booleans(),
)
def test_any_request_gets_an_answer(method: str, headers: dict, client: str, burst: bool) -> None:
    actor = classify(method, headers, client, [ipaddress.ip_network("10.0.0.0/8")], burst=burst)
    assert actor.reason


def test_the_documentation_names_every_row_in_order() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pages.md").read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \| (person|automated|uncertain) \|", text, re.MULTILINE)
    rows = [(reason, kind.code) for kind, reason, _ in TABLE]
    assert documented == [
        ("scanner_network", "automated"),
        *rows,
        ("unknown_agent", "uncertain"),
        ("burst", "uncertain"),
    ]

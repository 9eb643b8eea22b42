"""What the milter does with a mail: which way it goes, which call of the rewriter that means, and what the reply says.

Knows networks, domains, the rewriter's calls (`rewriter.api.Service`) and when signatures are looked at. Pure but for the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections import Counter
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from rewriter import api
from rewriter.milter.authentication import Checked, without_results
from rewriter.milter.changes import Field, on_top
from rewriter.milter.server import Work
from rewriter.milter.session import Disposition, Envelope, Reply
from toc.token import Direction, normal_address

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DISPOSITIONS = {None: Disposition.ACCEPT, "hold": Disposition.QUARANTINE, "tempfail": Disposition.TEMPFAIL}
UNSCANNABLE = "a part of this mail could not be read"


@dataclass(frozen=True, slots=True)
class Ways:
    """How the way of a mail is told.

    internal_networks: mail from these, and from clients that logged in, is ours
    internal_domains:  recipients there are ours, sub-domains included; lower case, A-labels
    trusted_relays:    mail from these passes untouched, decided by address alone: a name is the client's own claim
    """

    internal_networks: tuple[Network, ...] = ()
    internal_domains: tuple[str, ...] = ()
    trusted_relays: tuple[Network, ...] = ()


def ways(networks: tuple[str, ...], domains: tuple[str, ...], relays: tuple[str, ...]) -> Ways:
    """From settings. Raises ValueError at what is no network."""
    return Ways(
        tuple(map(ipaddress.ip_network, networks)),
        tuple(domain.lower().strip(".") for domain in domains),
        tuple(map(ipaddress.ip_network, relays)),
    )


def direction(envelope: Envelope, known: Ways) -> Direction | None:
    """Which way a mail goes, None for one from a trusted relay.

    From us to at least one recipient elsewhere is outbound: our links must not leave. From us to us alone: internal.
    A mail that the server itself made (no client address, as from ``sendmail``) is from us.
    """
    address = envelope.client.address
    if _inside(address, known.trusted_relays):
        return None
    if address and not envelope.login and not _inside(address, known.internal_networks):
        return Direction.INBOUND
    if all(_is_ours(recipient, known.internal_domains) for recipient in envelope.recipients):
        return Direction.INTERNAL
    return Direction.OUTBOUND


class Signatures(Protocol):
    """What is done about signatures around the edit."""

    authserv_id: str

    async def check(self, raw: bytes) -> Checked: ...
    async def seal(self, message: bytes) -> tuple[Field, ...]: ...


def milter_work(service: api.Service, known: Ways, version: str, signatures: Signatures | None = None) -> Work:
    """The function that `rewriter.milter.server.serve` wants. `version` of the program, for the result field."""

    async def work(envelope: Envelope, raw: bytes) -> Reply:
        way = direction(envelope, known)
        if way is None:
            return Reply()
        facts = api.Envelope(
            sender=envelope.sender,
            recipients=envelope.recipients,
            direction=way,
            client=envelope.client.address,
            authenticated=bool(envelope.login),
        )
        if way is Direction.OUTBOUND:
            return reply_of(await service.restore_message(raw, facts), way, version)
        if signatures is None:
            return reply_of(await service.rewrite_message(raw, facts), way, version)
        async with asyncio.TaskGroup() as group:  # DNS answers while the links are rewritten
            outcome = group.create_task(service.rewrite_message(raw, facts))
            checked = group.create_task(signatures.check(raw))
        reply = reply_of(outcome.result(), way, version)
        return await _signed(reply, raw, checked.result(), signatures)

    return work


async def _signed(reply: Reply, raw: bytes, checked: Checked, signatures: Signatures) -> Reply:
    """`reply` with the results of before the edit, without those that pretend to be ours, and with a seal if it changed."""
    before = raw if reply.message is None else reply.message
    after = without_results(before, signatures.authserv_id) if checked.field else before
    add = (*((checked.field,) if checked.field else ()), *reply.add)
    if reply.message is not None and checked.sealable:
        add = (*await signatures.seal(on_top(add, after)), *add)
    return replace(reply, message=None if after is raw else after, add=add)


def reply_of(outcome: api.Outcome, way: Direction, version: str) -> Reply:
    """What an outcome of the rewriter means to the mail server. The rewriter has taken away forged fields of ours."""
    marked = outcome.changed and way is not Direction.OUTBOUND
    disposition = DISPOSITIONS[outcome.disposition]
    return Reply(
        message=outcome.body if outcome.changed else None,
        add=(Field(b"Toc-Result", result(outcome, version)),) if marked else (),
        disposition=disposition,
        reason="" if disposition is Disposition.ACCEPT else UNSCANNABLE,
    )


def result(outcome: api.Outcome, version: str) -> bytes:
    """The value of `Toc-Result`: counts, whether every part was read, version, and where the receipt is found."""
    count = Counter(row.outcome for row in outcome.receipt)
    words = [
        *(f"{name}={count[name]}" for name in ("rewritten", "kept", "neutralised")),
        f"unprotected={outcome.unprotected}",
        f"complete={'yes' if outcome.complete else 'no'}",
        f"version={version}",
        f"receipt={outcome.reference or 'none'}",
    ]
    return b" " + "; ".join(words).encode("ascii", "replace")


def _inside(address: str, networks: tuple[Network, ...]) -> bool:
    with contextlib.suppress(ValueError):
        host = ipaddress.ip_address(address)
        host = getattr(host, "ipv4_mapped", None) or host
        return any(host in network for network in networks)
    return False


def _is_ours(recipient: str, domains: tuple[str, ...]) -> bool:
    """An address without a domain is of this very server."""
    _, at, domain = normal_address(recipient).rpartition("@")
    return not at or any(domain == ours or domain.endswith("." + ours) for ours in domains)

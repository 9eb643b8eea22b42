"""Peer reputation servers: other installations' ``GET /v1/verdict``, several in order, the next one where one fails.

Privacy: the peer learns the URL (without userinfo and fragment), or only scheme and host where `share_url` is off, and
the address of this installation. Never who clicked, nor in which mail.

What a peer approves, or warns of by signs of its own, is its operator's affair: only its threats count here, as long as
its own conclusion is not milder, and its approvals where the operator says so. A peer that is asked by a peer asks no
further one, so that two that ask each other do not go round in circles.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec

from reputation.breaker import Breaker, Found, Patience, SourceError
from reputation.forms import Reading
from reputation.http_source import HttpSource
from toc.verdict import Level, Match, MatchKind, ThreatType

PATH = "/v1/verdict"
HEADER = "Toc-Peer"
"""Marks a question of a peer."""

KEPT_SECONDS = 60.0
"""How long an answer counts: objects and lists over there may change any minute."""

ASIDE = Patience(failures=1, base=5.0, cap=300.0)
"""How long a server that failed is passed over, while another one answers."""

_THREATS = {threat.value: threat for threat in ThreatType}
_APPROVING = frozenset({MatchKind.APPROVED.value, MatchKind.OVERRIDE.value})


class PeerMatch(msgspec.Struct, frozen=True):
    source: str
    generation: str
    entry: str
    threat: str
    level: str
    kind: str = "threat"


class PeerVerdict(msgspec.Struct, frozen=True):
    """The part of `reputation.api.VerdictAnswer` that counts here."""

    level: str
    matches: tuple[PeerMatch, ...]
    silent: tuple[str, ...]


class Peers:
    """One reputation service, reached through any of `servers`; those named first are asked first.

    clock: monotonic seconds
    """

    def __init__(
        self,
        name: str,
        servers: Sequence[HttpSource],
        *,
        clock: Callable[[], float],
        rng: random.Random,
        share_url: bool = True,
        approvals: bool = False,
        required: bool = False,
    ) -> None:
        self.name = name
        self.required = required
        self._servers = [(server, Breaker(ASIDE, rng)) for server in servers]
        self._clock = clock
        self._share_url = share_url
        self._approvals = approvals

    def keys(self, reading: Reading) -> tuple[str, ...]:
        url = reading.url
        port = f":{url.port}" if url.port is not None else ""
        if not self._share_url:
            return (f"{url.scheme}://{url.host}/",)
        return (f"{url.scheme}://{url.host}{port}{url.path}{'?' + url.query if url.query else ''}",)

    async def fetch(self, keys: tuple[str, ...]) -> dict[str, Found]:
        return dict(zip(keys, await asyncio.gather(*map(self._one, keys)), strict=True))

    async def close(self) -> None:
        for server, _ in self._servers:
            await server.close()

    async def _one(self, key: str) -> Found:
        """From the first server that answers. Raises SourceError with what each of them said."""
        errors = []
        ready = [row for row in self._servers if not row[1].is_open(self._clock())]
        for server, breaker in ready or self._servers:
            try:
                found = self._read((await server.get(PATH, [("url", key)], "application/json")).body)
            except SourceError as error:
                breaker.failed(self._clock())
                errors.append(str(error))
            else:
                breaker.succeeded()
                return found
        raise SourceError("; ".join(errors))

    def _read(self, body: bytes) -> Found:
        try:
            answer = msgspec.json.decode(body, type=PeerVerdict)
            concluded = Level.of(answer.level)
            matches = tuple(filter(None, (self._match(match, concluded) for match in answer.matches)))
        except (msgspec.DecodeError, KeyError) as error:
            raise SourceError(f"no verdict: {error}") from None
        return Found(matches, KEPT_SECONDS, unsure=bool(answer.silent) and not matches)

    def _match(self, match: PeerMatch, concluded: Level) -> Match | None:
        entry = f"{match.source}: {match.entry}"
        threat = _THREATS.get(match.threat, ThreatType.OTHER)
        if match.kind in _APPROVING and self._approvals:
            return Match(self.name, match.generation, entry, threat, Level.SAFE, "url", MatchKind.APPROVED)
        level = min(Level.of(match.level), concluded)  # an override over there has the last word over there
        if match.kind != MatchKind.THREAT.value or level <= Level.UNTESTED:
            return None
        return Match(self.name, match.generation, entry, threat, level, "url")

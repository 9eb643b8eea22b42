"""Signatures at the milter: asks DNS for the keys within a deadline, verifies and seals in a process of its own.

Knows settings, sockets and processes; what is verified and sealed is `toc.signatures`. A mail never waits longer than the
deadline for DNS, and never fails for a signature: what could not be asked is `temperror`, what could not be sealed leaves so.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import ParamSpec, TypeVar

import dns.asyncresolver
import dns.exception
import dns.resolver
import structlog
from prometheus_client import Counter

from rewriter.milter.authentication import Checked
from rewriter.milter.changes import Field
from toc import signatures
from toc.config import Config
from toc.errors import ConfigError
from toc.keys import read_private
from toc.signatures import Signing

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("toc.sealing")

SEALS = Counter("toc_seals_total", "Changed mails by what became of their seal", ["outcome"])

CACHED = 10_000
"""Key records kept until their TTL: a busy gateway meets a few thousand signers a day."""

CHECK_SECONDS = 10.0
"""For hashing and arithmetic, without DNS: a mail of 100 MB takes about two."""


class Sealing:
    """The `rewriter.milter.work.Signatures` of a milter."""

    def __init__(
        self, authserv_id: str, resolver: dns.asyncresolver.Resolver | None, by: Signing | None, seconds: float
    ) -> None:
        self.authserv_id = authserv_id
        self._resolver = resolver
        self._by = by
        self._seconds = seconds
        self._pool = _new_pool()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, config: Config) -> AsyncIterator[Sealing | None]:
        """From `[signatures]`, None where it asks for nothing. Raises ConfigError, KeysetError."""
        chosen = config.signatures
        if not chosen.verify and chosen.seal == "none":
            yield None
            return
        if not chosen.authserv_id:
            raise ConfigError("[signatures] authserv_id is needed: the name of this host in Authentication-Results")
        resolver = _resolver(chosen.nameserver) if chosen.verify else None
        sealing = cls(chosen.authserv_id, resolver, _signing(config), chosen.dns_timeout_ms / 1000)
        try:
            yield sealing
        finally:
            sealing._pool.shutdown(cancel_futures=True)

    async def check(self, raw: bytes) -> Checked:
        """What DKIM and ARC say of a mail as it came."""
        if self._resolver is None:
            return Checked()
        records = await self._ask(signatures.questions(raw))
        try:
            return await self._run(signatures.check, raw, records, self.authserv_id)
        except (TimeoutError, OSError, BrokenProcessPool) as error:
            log.error("signatures_not_checked", error=repr(error))
            field = Field(b"Authentication-Results", f" {self.authserv_id}; dkim=temperror".encode())
            return Checked(field, sealable=False)

    async def seal(self, message: bytes) -> tuple[Field, ...]:
        """The fields to put on top of a changed mail; none where it cannot be sealed."""
        if self._by is None:
            return ()
        try:
            fields = await self._run(signatures.seal, message, self._by, int(time.time()))
        except Exception as error:  # whatever it is: a mail that is not sealed is better than one that does not come
            log.error("seal_failed", error=repr(error))
            SEALS.labels("failed").inc()
            return ()
        SEALS.labels("sealed" if fields else "none").inc()
        return fields

    async def _run(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        async with asyncio.timeout(CHECK_SECONDS):
            call, pool = functools.partial(work, *arguments, **named), self._pool
            try:
                return await asyncio.get_running_loop().run_in_executor(pool, call)
            except BrokenProcessPool:
                if pool is self._pool:
                    self._pool = _new_pool()
                raise

    async def _ask(self, names: tuple[bytes, ...]) -> dict[bytes, bytes | None]:
        """The records of `names`, all asked at once. Those not answered within the deadline are missing."""
        records: dict[bytes, bytes | None] = {}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await asyncio.gather(*(self._ask_one(name, records) for name in names))
        return records

    async def _ask_one(self, name: bytes, records: dict[bytes, bytes | None]) -> None:
        assert self._resolver is not None, "only asked where something is verified"
        try:
            answer = await self._resolver.resolve(name.decode("ascii"), "TXT", lifetime=self._seconds, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.exception.SyntaxError):
            records[name] = None
        except (dns.exception.DNSException, OSError) as error:
            log.info("key_not_answered", name=name.decode("ascii"), error=type(error).__name__)
        else:
            records[name] = b"".join(answer[0].strings) if len(answer) == 1 else None


def _new_pool() -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # this process has a loop and threads: no fork from here
    return ProcessPoolExecutor(1, mp_context=context)


def _resolver(nameserver: str) -> dns.asyncresolver.Resolver:
    """The system's resolver, or the one that is named."""
    resolver = dns.asyncresolver.Resolver(configure=not nameserver)
    resolver.cache = dns.resolver.LRUCache(CACHED)
    if nameserver:
        address, colon, port = nameserver.rpartition(":")
        try:
            resolver.nameservers = [address.strip("[]") if colon and port.isdigit() else nameserver]
            resolver.port = int(port) if colon and port.isdigit() else 53
        except ValueError:
            raise ConfigError(f"[signatures] nameserver {nameserver!r} must be ADDRESS or ADDRESS:PORT") from None
    return resolver


def _signing(config: Config) -> Signing | None:
    chosen = config.signatures
    if chosen.seal == "none":
        return None
    for name in ("domain", "selector", "key"):
        if not getattr(chosen, name):
            raise ConfigError(f"[signatures] {name} is needed where seal is {chosen.seal!r}")
    key = read_private(config.path(chosen.key), "signing key")
    return signatures.signing(chosen.authserv_id, chosen.domain, chosen.selector, key, arc=chosen.seal == "arc")

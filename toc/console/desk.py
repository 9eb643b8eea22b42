"""What the console's pages work with, handed in by the management process. Pages ask the same functions as the calls do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from redirector.rate import Network, client_of, network_of
from reputation.api import ListAnswer, RefreshAnswer
from toc.accounts import Account, Directory
from toc.console.render import Renderer
from toc.keys import Keyset
from toc.live_health import Health
from toc.policy import Policy
from toc.replay import ReplayAnswer
from toc.sessions import Ends, Session
from toc.url import Url
from toc.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Desk:
    """What pages ask, and what they need to know of their surroundings.

    settle:    waits until clicks that were answered before can be read
    judge:     the verdict on a URL now
    lists:     the state of all; `refresh` fetches one now
    sources:   how the live sources fare
    policy_of: the policy of that version, if it was kept
    replay:    a recorded click explained by its own evidence
    random:    that many random bytes
    secure:    the browser speaks TLS with us or with the proxy before us
    proxies:   peers whose X-Forwarded-For is believed
    """

    engine: AsyncEngine
    renderer: Renderer
    directory: Directory
    settle: Callable[[], Awaitable[None]]
    judge: Callable[[Url], Awaitable[Verdict]]
    lists: Callable[[], tuple[ListAnswer, ...]]
    sources: Callable[[], tuple[Health, ...]]
    refresh: Callable[[str], Awaitable[RefreshAnswer]]
    policy: Callable[[], Policy]
    policy_of: Callable[[str], Policy | None]
    replay: Callable[[Mapping[str, Any]], ReplayAnswer]
    keyset: Callable[[], Keyset]
    top_sites: Callable[[], frozenset[str]]
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    random: Callable[[int], bytes]
    ends: Ends
    secure: bool
    proxies: tuple[Network, ...]
    data_dir: Path

    def network(self, request: Request) -> str:
        """The /24 or /56 that a request comes from."""
        peer = request.client.host if request.client else ""
        forwarded = request.headers.get("x-forwarded-for", "")
        return network_of(client_of(peer, forwarded, self.proxies) if forwarded else peer)


def session_of(request: Request) -> Session:
    """The session that the gate has let in."""
    session: Session = request.state.session
    return session


def account_of(request: Request) -> Account:
    return session_of(request).account


def actor_of(request: Request) -> str:
    """As the audit trail names it."""
    return f"user:{account_of(request).name}"

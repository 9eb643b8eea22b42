"""Builds the `Protect` of one message: from keyset, policy, facts of the mail and a judge to the fate of each link.

Knows keys and policy; knows no bytes of a mail, no list, no clock. Never raises while a mail is being rewritten.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from toc.config import LinkSettings
from toc.errors import BadLink, BadUrl, StoreError
from toc.keys import Keyset
from toc.link import FRAMES, Fate, Keep, Kind, Link, Neutralise, Protect
from toc.link import Sealed as Replaced
from toc.policy import Mail, Policy, Scope, Treatment, mail_rules, treatment
from toc.token import (
    NO_FLAGS,
    NO_REF,
    Flag,
    Sealed,
    host_part,
    link_length,
    open_path,
    seal,
    stored_id,
    target_field,
)
from toc.url import MAX_URL, Url, parse
from toc.verdict import Level, Verdict

Judge = Callable[[Url, str | None], Verdict]
"""The local verdict on a URL and the other reading of it, if there is one."""

Store = Callable[[bytes, bytes], None]
"""Keeps a target field under its id, durably. Raises StoreError."""

NAMESPACES = frozenset(
    {
        "http://schemas.microsoft.com/office/2004/12/omml",
        "http://schemas.microsoft.com/intellisense/ie5",
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/TR/1999/REC-html401-19991224/loose.dtd",
        "http://www.w3.org/TR/REC-html40",
        "http://www.w3.org/TR/html4/frameset.dtd",
        "http://www.w3.org/TR/html4/loose.dtd",
        "http://www.w3.org/TR/html4/strict.dtd",
        "http://www.w3.org/TR/xhtml1/DTD/xhtml1-frameset.dtd",
        "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd",
        "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd",
        "http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd",
    }
)
"""URLs that are names of formats, not places to go (docs/reasons.md, ``namespace``)."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is the same for every link of one message."""

    mail: Mail
    message_ref: bytes = NO_REF
    recipient_ref: bytes = NO_REF


@dataclass(frozen=True, slots=True)
class Tools:
    """What sealing works with.

    judge:  None where no list is at hand: then everything is rewritten
    store:  None where no live store is at hand: then every link is inline
    shared: whether a host belongs to shared hosting or to a shortener (scope ``smart``)
    """

    keyset: Keyset
    policy: Policy
    settings: LinkSettings
    now: datetime
    judge: Judge | None = None
    store: Store | None = None
    shared: Callable[[str], bool] = lambda host: False


def build(message: Message, tools: Tools) -> Protect:
    """The `Protect` to hand to the rewriter."""
    rules = mail_rules(tools.policy, message.mail)
    treatments: dict[str, Treatment] = {}

    def treated(host: str) -> Treatment:
        how = treatments.get(host)
        if how is None:
            how = treatments[host] = treatment(tools.policy, rules, message.mail, host)
        return how

    def protect(link: Link) -> Fate:
        try:
            url = parse(link.url)
        except BadUrl:
            return Neutralise("bad_url")
        own = own_link(url, tools.keyset)
        if own is not None:
            return Keep(own)
        if link.url in NAMESPACES:
            return Keep("namespace")
        if len(link.url) > MAX_URL:
            return Neutralise("too_long")
        verdict = tools.judge(url, link.other) if tools.judge else None
        how = treated(url.host)
        level = verdict.level.code if verdict else None
        if how.exempt:
            return Keep("exempt", level)
        if not _in_scope(how.scope, verdict, url, tools):
            return Keep("scope", level)
        return Replaced(_link(link, url, how, message, tools), level)

    return protect


def own_link(url: Url, keyset: Keyset) -> str | None:
    """``own_link`` if `url` is a link of ours that opens, ``own_invalid`` if it only looks like one, else None."""
    rest = own_path(url, keyset)
    if rest is None:
        return None
    try:
        open_path(rest, keyset, lambda _id: b"")
    except BadLink:
        return "own_invalid"
    return "own_link"


def own_path(url: Url, keyset: Keyset) -> str | None:
    """What stands behind ``/u/`` or ``/p/`` of one of our base URLs; None for any other URL."""
    if url.userinfo:
        return None
    for base in keyset.public_urls:
        if (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port):
            prefix = base.path.rstrip("/")
            for room in ("/u/", "/p/"):
                if url.path.startswith(prefix + room):
                    return url.path[len(prefix) + len(room) :]
    return None


def _in_scope(scope: Scope, verdict: Verdict | None, url: Url, tools: Tools) -> bool:
    if scope is Scope.NONE:
        return False
    if scope is Scope.ALL or verdict is None or verdict.level is not Level.SAFE:
        return True
    return scope is Scope.SMART and tools.shared(url.host)


def _link(link: Link, url: Url, how: Treatment, message: Message, tools: Tools) -> str:
    keyset = tools.keyset
    base = keyset.public_urls[0].href.rstrip("/")
    short = tools.settings.text == "short" and link.kind is Kind.TEXT
    host = host_part(url) if tools.settings.show_host and not short else "-"
    field = target_field(link.url, link.other)
    inline = link_length(len(field), len(base), len(host))
    wanted = short or (inline > tools.settings.max_link and len(link.url) <= tools.settings.max_link)
    stored = wanted and _stored(field, tools)
    if short and not stored and tools.settings.show_host:
        host = host_part(url)
    sealed = Sealed(
        target=link.url,
        other=link.other,
        issued=tools.now,
        message_ref=message.message_ref,
        recipient_ref=message.recipient_ref,
        profile=how.profile.number,
        direction=message.mail.direction,
        flags=_flags(link.kind, link.differs, link.in_text, link.implied),
        stored=stored,
    )
    return f"{base}/u/{host}/{seal(sealed, host, keyset)}"


def _stored(field: bytes, tools: Tools) -> bool:
    """Put the target into the store; False where that can't be done now, and the link goes inline."""
    if tools.store is None:
        return False
    try:
        tools.store(stored_id(field, tools.keyset), field)
    except StoreError:
        return False
    return True


@cache
def _flags(kind: Kind, differs: bool, in_text: bool, implied: bool) -> Flag:
    flags = NO_FLAGS
    if differs:
        flags |= Flag.TEXT_DIFFERS
    if kind is Kind.FORM:
        flags |= Flag.FORM
    if kind in FRAMES:
        flags |= Flag.FRAME
    if in_text:
        flags |= Flag.IN_TEXT
    if implied:
        flags |= Flag.IMPLIED
    return flags

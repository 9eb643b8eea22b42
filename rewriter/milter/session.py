"""One connection of a mail server, as a state machine over bytes. Sans-IO.

Knows what may come when, and collects one mail at a time. Opens no socket and knows no rewriter: it hands out a `Job`
and takes a `Reply`. The invariant that it is built around: a reply is written only while its own job is the one that
the mail server waits for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from rewriter.milter import protocol
from rewriter.milter.changes import Field, body_changes, build, header_changes, split
from rewriter.milter.protocol import Client, MilterError, Offer, Option, Packet


class Disposition(Enum):
    """What shall become of the mail."""

    ACCEPT = auto()
    TEMPFAIL = auto()  # the sender keeps it and tries again
    QUARANTINE = auto()  # taken, and held until someone looks at it
    REJECT = auto()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the mail server says about a mail.

    macros: everything it told, names without braces; `queue_id`, `login` and `tls` are the ones with a use of their own
    """

    client: Client = field(default_factory=Client)
    helo: str = ""
    sender: str = ""
    recipients: tuple[str, ...] = ()
    macros: dict[str, str] = field(default_factory=dict)

    @property
    def queue_id(self) -> str:
        return self.macros.get("i", "")

    @property
    def login(self) -> str:
        """Who logged in (SMTP AUTH), empty where nobody did."""
        return self.macros.get("auth_authen", "")

    @property
    def tls(self) -> str:
        return self.macros.get("tls_version", "")


@dataclass(frozen=True, slots=True)
class Job:
    """A complete mail. `number` is unique within the session."""

    number: int
    envelope: Envelope
    raw: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What shall be done with a mail.

    message: its new bytes, None where it stays as it is
    add:     fields to put on top, in this order
    reason:  for the sender (TEMPFAIL, REJECT) or the postmaster (QUARANTINE); printable ASCII
    """

    message: bytes | None = None
    add: tuple[Field, ...] = ()
    disposition: Disposition = Disposition.ACCEPT
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for the mail server."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The mail server gave up the mail whose job is running."""


@dataclass(frozen=True, slots=True)
class End:
    """Close the connection."""


Event = Send | Job | Cancelled | End


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """max_message: bytes of one mail; too_large: what becomes of a longer one, of which nothing is kept"""

    max_message: int = 100_000_000
    max_recipients: int = 100_000
    too_large: Disposition = Disposition.TEMPFAIL


class State(Enum):
    NEW = auto()  # no options yet
    OPEN = auto()  # no mail
    MAIL = auto()  # sender, recipients
    HEAD = auto()
    BODY = auto()
    WORKING = auto()  # the mail server waits for the reply
    ANSWERING = auto()  # and has a part of it
    ENDED = auto()


_BETWEEN = {b"C": State.OPEN, b"H": State.OPEN, b"U": State.OPEN, b"M": State.MAIL, b"A": State.OPEN, b"K": State.OPEN}
NEXT: dict[State, dict[bytes, State]] = {
    State.NEW: {b"O": State.OPEN},
    State.OPEN: _BETWEEN,
    State.MAIL: {
        b"R": State.MAIL,
        b"U": State.MAIL,
        b"T": State.HEAD,
        b"L": State.HEAD,
        b"N": State.BODY,
        b"A": State.OPEN,
        b"K": State.OPEN,
    },
    State.HEAD: {b"L": State.HEAD, b"N": State.BODY, b"A": State.OPEN, b"K": State.OPEN},
    State.BODY: {b"B": State.BODY, b"E": State.WORKING, b"A": State.OPEN, b"K": State.OPEN},
    State.WORKING: {b"A": State.OPEN, b"K": State.OPEN},
    State.ANSWERING: {},
    State.ENDED: {},
}
"""Which command may come in which state, and the state after it. Quit may come always, macros before every command."""

_SMUGGLED = re.compile(rb"\n(?:[^ \t]|\Z)")
"""A line of a header's value that is no fold: it would be another header, or the end of the header block."""

_LEVELS = b"CHMRTLNE"
"""The order in which macros are given; those of C and H live as long as the connection."""


class _Mail:
    """The mail that is being collected."""

    def __init__(self) -> None:
        self.sender = ""
        self.recipients: list[str] = []
        self.fields: list[Field] = []
        self.chunks: list[bytes] = []
        self.size = 0
        self.too_large = False

    def grow(self, size: int, limit: int) -> bool:
        """Whether `size` more bytes may be kept. Past the limit everything is let go."""
        self.size += size
        if self.size > limit:
            self.too_large = True
            self.fields.clear()
            self.chunks.clear()
        return not self.too_large


class Session:
    """Feed it what arrives, do what it says. See the module's head."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._splitter = protocol.Splitter()
        self._offer = Offer(0, 0, 0)
        self._client = Client()
        self._helo = ""
        self._macros: dict[int, dict[str, str]] = {}
        self._mail = _Mail()
        self._job: Job | None = None
        self._jobs = 0
        self.state = State.NEW

    @property
    def in_mail(self) -> bool:
        """Whether a mail is under way: ending the connection now would cost the mail server a retry."""
        return self.state in (State.MAIL, State.HEAD, State.BODY, State.WORKING, State.ANSWERING)

    def receive(self, data: bytes) -> Iterator[Event]:
        """What follows from `data`. Raises MilterError: then close the connection."""
        for packet in self._splitter.feed(data):
            yield from self._take(packet)

    def answer(self, job: Job, reply: Reply) -> Iterator[bytes]:
        """The packets of `reply`, nothing if `job` is not the one that the mail server waits for (any more)."""
        if self.state is not State.WORKING or job is not self._job:
            return
        self.state = State.ANSWERING
        self._job = None
        match reply.disposition:
            case Disposition.ACCEPT:
                yield from self._changes(job, reply)
                last = protocol.ACCEPT
            case Disposition.QUARANTINE:
                yield from self._changes(job, reply)
                if self._offer.actions & protocol.Action.QUARANTINE:
                    yield protocol.quarantine(reply.reason or "held")
                    last = protocol.ACCEPT
                else:
                    last = protocol.reply_code("451 4.7.1", "this server can hold no mail: " + reply.reason)
            case Disposition.TEMPFAIL:
                last = protocol.reply_code("451 4.7.1", reply.reason or "try again later")
            case Disposition.REJECT:
                last = protocol.reply_code("550 5.7.1", reply.reason or "not accepted")
            case _ as unreachable:
                assert_never(unreachable)
        self._reset()
        yield last

    def progress(self) -> bytes:
        """A sign of life for a mail server that waits, else nothing."""
        return protocol.PROGRESS if self.state is State.WORKING else b""

    def _changes(self, job: Job, reply: Reply) -> Iterator[bytes]:
        if reply.message is None and not reply.add:
            return
        old, old_body = split(job.raw)
        new, new_body = (old, old_body) if reply.message is None else split(reply.message)
        leading = bool(self._offer.options & Option.LEADING_SPACE)
        yield from header_changes(old, [*reply.add, *new], leading_space=leading)
        yield from body_changes(old_body, new_body)

    def _take(self, packet: Packet) -> Iterator[Event]:
        if packet.command == b"Q":
            yield from self._give_up()
            self.state = State.ENDED
            yield End()
            return
        if packet.command == b"D" and self.state not in (State.NEW, State.ANSWERING, State.ENDED):
            self._macro(packet.data)
            return
        after = NEXT[self.state].get(packet.command)
        if after is None:
            raise MilterError(f"milter command {packet.command!r} cannot come in state {self.state.name}")
        yield from self._carry_out(packet)
        self.state = after
        if packet.command == b"E":
            yield from self._complete()

    def _carry_out(self, packet: Packet) -> Iterator[Event]:
        data = packet.data
        match packet.command:
            case b"O":
                self._offer = protocol.negotiate(protocol.parse_offer(data))
                yield Send(protocol.offer_packet(self._offer))
                return
            case b"A" | b"K":
                yield from self._give_up()
                if packet.command == b"K":
                    self._client, self._helo, self._macros = Client(), "", {}
                return
            case b"E":
                self._keep_body(data)
                return
            case b"C":
                self._client, self._helo = protocol.parse_client(data), ""
            case b"H":
                self._helo = protocol.parse_address(data)
            case b"M":
                self._mail.sender = protocol.parse_address(data)
            case b"R":
                self._keep_recipient(data)
            case b"L":
                self._keep_header(data)
            case b"B":
                self._keep_body(data)
        if not self._offer.options & protocol.NO_REPLY[packet.command]:
            yield Send(protocol.CONTINUE)

    def _macro(self, data: bytes) -> None:
        """A new set of macros for a command replaces the former; those of later commands are those of a former mail."""
        command, macros = protocol.parse_macros(data)
        level = _LEVELS.find(command)
        if level >= 0:
            self._macros[level] = macros

    def _keep_recipient(self, data: bytes) -> None:
        if len(self._mail.recipients) >= self._limits.max_recipients:
            raise MilterError(f"more than {self._limits.max_recipients} recipients")
        self._mail.recipients.append(protocol.parse_address(data))

    def _keep_header(self, data: bytes) -> None:
        name, value = protocol.parse_header(data)
        value = value.replace(b"\r\n", b"\n")
        if _SMUGGLED.search(value):
            raise MilterError(f"the header {name!r} has a line that is no fold")
        if not self._offer.options & Option.LEADING_SPACE:
            value = b" " + value
        if self._mail.grow(len(data) + 2, self._limits.max_message):
            self._mail.fields.append(Field(name, value.replace(b"\n", b"\r\n")))

    def _keep_body(self, data: bytes) -> None:
        if data and self._mail.grow(len(data), self._limits.max_message):
            self._mail.chunks.append(data)

    def _complete(self) -> Iterator[Event]:
        mail = self._mail
        macros: dict[str, str] = {}
        for level in sorted(self._macros):
            macros |= self._macros[level]
        envelope = Envelope(self._client, self._helo, mail.sender, tuple(mail.recipients), macros)
        self._mail = _Mail()  # the chunks go once they are joined: a large mail is held once
        self._jobs += 1
        self._job = Job(self._jobs, envelope, build(mail.fields, b"".join(mail.chunks)))
        if not mail.too_large:
            yield self._job
            return
        reply = Reply(disposition=self._limits.too_large, reason="this mail is larger than we can read")
        for data in self.answer(self._job, reply):
            yield Send(data)

    def _give_up(self) -> Iterator[Event]:
        working = self.state is State.WORKING
        self._reset()
        if working:
            yield Cancelled()

    def _reset(self) -> None:
        """No mail is under way any more. What the connection told stays."""
        self._mail = _Mail()
        self._job = None
        self._macros = {level: macros for level, macros in self._macros.items() if level < _LEVELS.index(b"M")}
        self.state = State.OPEN

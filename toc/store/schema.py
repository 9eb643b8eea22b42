"""All tables, once, for SQLite and PostgreSQL. Each room holds its own queries; this module holds none.

Times are microseconds since 1970 in UTC (`Moment`), so that both databases sort and compare them alike and no
session time zone can bend a query. References are the 8 bytes of the seal.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    literal_column,
    or_,
)

metadata = MetaData()

Serial = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows itself only where the type is exactly INTEGER."""


class Moment(TypeDecorator[datetime]):
    """A point in time: microseconds since 1970, UTC."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_micros(moment: datetime) -> int:
    """Microseconds since 1970. A time without zone is a mistake: ValueError."""
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    delta = moment - _EPOCH
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_micros(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


people = Table(
    "people",
    metadata,
    Column("ref", LargeBinary(8), primary_key=True),
    Column("address", Text, nullable=False),
    Index("people_address", "address"),
)
"""The only place where addresses of people stand: erasing a person is one DELETE here."""

messages = Table(
    "messages",
    metadata,
    Column("ref", LargeBinary(8), primary_key=True),
    Column("time", Moment, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("sender_ref", LargeBinary(8)),
    Column("subject", Text, nullable=False),
    Column("direction", SmallInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("worst_level", SmallInteger),
    Index("messages_time", "time"),
    Index("messages_message_id", "message_id"),
    Index("messages_sender", "sender_ref"),
)

subject_grams = Table(
    "subject_grams",
    metadata,
    Column("gram", String(2), primary_key=True),
    Column("message_ref", LargeBinary(8), primary_key=True),
    sqlite_with_rowid=False,
)
"""Pairs of characters of subjects (`toc.store.search_text`). The trigrams of URLs stand in each database's own kind of index
(migration 0004)."""

holders = Table(
    "holders",
    metadata,
    Column("message_ref", LargeBinary(8), primary_key=True),
    Column("recipient_ref", LargeBinary(8), primary_key=True),
    Index("holders_recipient", "recipient_ref"),
)
"""Who received a message, and so holds its links."""

links = Table(
    "links",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("message_ref", LargeBinary(8), nullable=False),
    Column("part", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("spelling", Text, nullable=False, default=""),
    Column("host", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("link", Text),
    Column("level", SmallInteger),
    Index("links_message", "message_ref"),
    Index("links_host", "host"),
    Index("links_domain", "domain"),
)
"""The receipts: one row per URL found in a message."""

inner_hosts = Table(
    "inner_hosts",
    metadata,
    Column("domain", Text, primary_key=True),
    Column("link", BigInteger, primary_key=True),
    Column("host", Text, primary_key=True),
    Index("inner_hosts_link", "link"),
    sqlite_with_rowid=False,
)
"""Of links that are another vendor's wrappers (few): the hosts inside, layer by layer. `link`: `links.id`."""

stored_links = Table(
    "stored_links",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("field", LargeBinary, nullable=False),
    Column("time", Moment, nullable=False),
)
"""Targets of version 2 links. No retention ever removes a row: mails carry these links for ten years."""

clicks = Table(
    "clicks",
    metadata,
    Column("seq", Serial, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("grp", String(32), nullable=False),
    Column("time", Moment, nullable=False),
    Column("event", SmallInteger, nullable=False),
    Column("action", SmallInteger, nullable=False),
    Column("level", SmallInteger, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("message_ref", LargeBinary(8), nullable=False),
    Column("recipient_ref", LargeBinary(8), nullable=False),
    Column("client", Text, nullable=False),
    Column("network", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("actor", SmallInteger, nullable=False),
    Column("actor_reason", String(32), nullable=False),
    Column("key_id", LargeBinary(4), nullable=False),
    Column("issued", Moment, nullable=False),
    Column("profile", Integer, nullable=False),
    Column("policy", String(12), nullable=False),
    Index("clicks_time", "time"),
    Index("clicks_grp", "grp"),
    Index("clicks_recipient", "recipient_ref", "seq"),
    Index("clicks_message", "message_ref"),
    Index("clicks_host", "host", "seq"),
    Index("clicks_domain", "domain", "seq"),
    Index("clicks_network", "network", "seq"),
    Index("clicks_reasons", "reasons", "seq"),
)
"""One event a row. `reasons`: codes between commas, one before and after. `evidence`: JSON (`redirector.clicks`)."""

objects = Table(
    "objects",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("value", Text, nullable=False),
    Column("action", String(16), nullable=False),
    Column("risk_level", String(8)),
    Column("note", Text, nullable=False, default=""),
    Column("source", Text, nullable=False, default=""),
    Column("owner", Text, nullable=False, default=""),
    Column("created", Moment, nullable=False),
    Column("expires", Moment),
    Index("objects_value", "type", "value", "action", unique=True),
)

revocations = Table(
    "revocations",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("ref", LargeBinary(32), primary_key=True),
    Column("time", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("note", Text, nullable=False, default=""),
)
"""Revoked messages, recipients and single links (`ref` of a link: SHA-256 of its token)."""

changes = Table(
    "changes",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("counter", BigInteger, nullable=False),
)
"""A counter per table that workers hold in memory: when it moved, they read that table again."""

first_seen = Table(
    "first_seen",
    metadata,
    Column("name", Text, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("days", Integer, nullable=False),
    Column("last_day", Integer, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("people", BigInteger, nullable=False),
)
"""Hosts and registrable domains: when each first appeared here, on how many days, in how many messages, for whom."""

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("revoked", Moment),
)

users = Table(
    "users",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("password", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("created", Moment, nullable=False),
    Column("disabled", Moment),
    Column("failures", Integer, nullable=False, default=0),
    Column("locked_until", Moment),
    Column("timezone", String(64), nullable=False, default=""),
    Column("language", String(8), nullable=False, default=""),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user", String(128), ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created", Moment, nullable=False),
    Column("used", Moment, nullable=False),
    Index("sessions_user", "user"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("actor", Text, nullable=False),
    Column("verb", String(32), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Index("audit_time", "time"),
)
"""Every change that staff or a command made. Rows are added, never changed."""

reports = Table(
    "reports",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("click", String(32), nullable=False),
    Column("url", Text, nullable=False),
    Column("done", Moment),
    Column("done_by", Text),
    Column("outcome", String(16), nullable=False, default="", server_default=""),
    Column("note", Text, nullable=False, default="", server_default=""),
    Index("reports_open", "done", "time"),
    Index("reports_click", "click", unique=True),
)
"""What staff made of a report. The report itself is a click with the event *reported*; one without a row here is open."""

hits = Table(
    "hits",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("time", Moment, nullable=False),
    Column("source", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("click", String(32), nullable=False, default=""),
    Column("link", BigInteger, nullable=False, default=0),
    Column("alerted", Moment),
    Index("hits_time", "time"),
    Index("hits_once", "source", "entry", "click", "link", unique=True),
)
"""Retrospective hits: a click, or a link not yet clicked, that an entry added later accuses."""

shipments = Table(
    "shipments",
    metadata,
    Column("target", String(128), primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False, default=0),
    Column("error", Text, nullable=False, default=""),
)
"""How far each SIEM target has been sent the clicks; under a name with a colon, how far a chore of ours has come."""

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("network", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last", Moment, nullable=False),
    Column("until", Moment),
    Column("known", Moment),
    Index("sign_ins_last", "last"),
)
"""Failed sign-ins (`toc.lockout`). An empty name or network stands for all. `known`: the last success from there."""

Index("clicks_reported", clicks.c.seq, sqlite_where=clicks.c.event == 3, postgresql_where=clicks.c.event == 3)
"""The reports among the clicks (event 3 is *reported*): few rows, found without reading the others."""

NOTEWORTHY = or_(clicks.c.action > literal_column("0"), clicks.c.event != literal_column("1"))
"""All but plain forwarding (event 1, action 0). Queries must say it in these very words for the index below to serve them."""

Index(
    "clicks_noteworthy",
    *(clicks.c[name] for name in ("time", "event", "action", "host", "recipient_ref")),
    sqlite_where=NOTEWORTHY,
    postgresql_where=NOTEWORTHY,
)
"""What the overview counts, whole in the index: the few clicks that were more than forwarded."""

WHOLE_ADDRESS = clicks.c.client != clicks.c.network
"""Clicks whose client address is not truncated yet, in the words of the index below."""

Index("clicks_whole_address", clicks.c.time, sqlite_where=WHOLE_ADDRESS, postgresql_where=WHOLE_ADDRESS)
"""What retention still has to truncate: without it every run would read all that it truncated before."""

"""Indexes in the order of the pages that a search shows, for parts of URLs and of subjects, and for retention.

Revision ID: 0004
"""

import logging

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError

from toc.store.search_text import grams

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BATCH = 5000

log = logging.getLogger("alembic.runtime.migration")


def upgrade() -> None:
    for name, column in (
        ("clicks_recipient", "recipient_ref"),
        ("clicks_host", "host"),
        ("clicks_domain", "domain"),
        ("clicks_network", "network"),
    ):
        op.drop_index(name, "clicks")
        op.create_index(name, "clicks", [column, "seq"], unique=False)
    whole = sa.text("client != network")
    op.create_index(
        "clicks_whole_address", "clicks", ["time"], unique=False, sqlite_where=whole, postgresql_where=whole
    )
    op.create_index("clicks_reasons", "clicks", ["reasons", "seq"], unique=False)
    op.create_table(
        "subject_grams",
        sa.Column("gram", sa.String(length=2), nullable=False),
        sa.Column("message_ref", sa.LargeBinary(length=8), nullable=False),
        sa.PrimaryKeyConstraint("gram", "message_ref"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        _postgresql()
    _grams_of_old_subjects()


def _sqlite() -> None:
    """Every URL once, in an index of its trigrams; triggers keep both, whoever writes the clicks."""
    op.create_index("clicks_url", "clicks", ["url", "seq"], unique=False)
    op.execute("CREATE TABLE urls (id INTEGER PRIMARY KEY, url TEXT NOT NULL UNIQUE)")
    op.execute(
        "CREATE VIRTUAL TABLE urls_text USING fts5(url, content='urls', content_rowid='id', tokenize='trigram', columnsize=0)"
    )
    op.execute("INSERT INTO urls (url) SELECT DISTINCT url FROM clicks")
    op.execute("INSERT INTO urls_text (urls_text) VALUES ('rebuild')")
    op.execute(
        "CREATE TRIGGER clicks_url_added AFTER INSERT ON clicks BEGIN "
        "INSERT INTO urls (url) SELECT new.url WHERE NOT EXISTS (SELECT 1 FROM urls WHERE url = new.url); END"
    )
    op.execute(
        "CREATE TRIGGER urls_added AFTER INSERT ON urls BEGIN "
        "INSERT INTO urls_text (rowid, url) VALUES (new.id, new.url); END"
    )
    op.execute(
        "CREATE TRIGGER urls_removed AFTER DELETE ON urls BEGIN "
        "INSERT INTO urls_text (urls_text, rowid, url) VALUES ('delete', old.id, old.url); END"
    )


def _postgresql() -> None:
    """A long URL does not fit into an ordinary index; trigrams serve exact searches too.

    Where the extension is not installed, or we may not add it, such searches read the table.
    """
    try:
        with op.get_bind().begin_nested():
            op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            op.execute("CREATE INDEX clicks_url ON clicks USING gin (url gin_trgm_ops)")
    except DBAPIError as error:
        log.warning("searches for URLs read the whole table: pg_trgm cannot be used (%s)", error.orig)


def _grams_of_old_subjects() -> None:
    connection = op.get_bind()
    messages = sa.table("messages", sa.column("ref", sa.LargeBinary), sa.column("subject", sa.Text))
    table = sa.table("subject_grams", sa.column("gram", sa.String), sa.column("message_ref", sa.LargeBinary))
    last = b""
    while True:
        query = sa.select(messages).where(messages.c.ref > last).order_by(messages.c.ref).limit(BATCH)
        found = connection.execute(query).all()
        if not found:
            return
        last = bytes(found[-1].ref)
        rows = [{"gram": gram, "message_ref": row.ref} for row in found for gram in sorted(grams(row.subject))]
        if rows:
            connection.execute(table.insert(), rows)

"""Hosts inside other vendors' wrappers, so that whoever holds such a link is found by where it leads.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

from toc.errors import BadUrl
from toc.unwrap import inner_urls, may_wrap
from toc.url import parse

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BATCH = 5000


def upgrade() -> None:
    op.create_table(
        "inner_hosts",
        sa.Column("domain", sa.Text(), nullable=False),
        sa.Column("link", sa.BigInteger(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("domain", "link", "host"),
        sqlite_with_rowid=False,
    )
    op.create_index("inner_hosts_link", "inner_hosts", ["link"], unique=False)
    _of_old_links()


def _of_old_links() -> None:
    connection = op.get_bind()
    links = sa.table("links", sa.column("id", sa.BigInteger), sa.column("url", sa.Text))
    table = sa.table("inner_hosts", sa.column("domain"), sa.column("link"), sa.column("host"))
    last = 0
    while True:
        query = sa.select(links).where(links.c.id > last).order_by(links.c.id).limit(BATCH)
        found = connection.execute(query).all()
        if not found:
            return
        last = found[-1].id
        rows = [{"domain": domain, "link": row.id, "host": host} for row in found for host, domain in _inner(row.url)]
        if rows:
            connection.execute(table.insert(), rows)


def _inner(url: str) -> set[tuple[str, str]]:
    try:
        parsed = parse(url)
    except BadUrl:
        return set()
    return {(inner.host, inner.domain) for inner in inner_urls(parsed)} if may_wrap(parsed) else set()

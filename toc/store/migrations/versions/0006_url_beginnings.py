"""On PostgreSQL an index of the beginnings of URLs: trigrams of a whole URL are shared by too many others.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute('CREATE INDEX clicks_url_beginning ON clicks (left(url, 200) COLLATE "C")')

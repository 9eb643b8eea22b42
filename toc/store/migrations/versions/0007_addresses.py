"""On PostgreSQL an index of the hosts that are addresses: few rows, which an object of a network must find among millions.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("clicks", "links", "inner_hosts"):
            op.execute(f"CREATE INDEX {table}_addresses ON {table} (domain) WHERE domain ~ '^[0-9[]'")

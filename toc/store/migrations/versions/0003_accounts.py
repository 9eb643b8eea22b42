"""Failed sign-ins, what staff made of a recipient's report, and indexes for the overview.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_ins",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("network", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.Column("known", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", "network"),
    )
    op.create_index("sign_ins_last", "sign_ins", ["last"], unique=False)
    op.create_index("sessions_user", "sessions", ["user"], unique=False)
    op.add_column("reports", sa.Column("outcome", sa.String(length=16), nullable=False, server_default=""))
    op.add_column("reports", sa.Column("note", sa.Text(), nullable=False, server_default=""))
    op.create_index("reports_click", "reports", ["click"], unique=True)
    op.create_index(
        "clicks_reported",
        "clicks",
        ["seq"],
        unique=False,
        sqlite_where=sa.text("event = 3"),
        postgresql_where=sa.text("event = 3"),
    )
    noteworthy = sa.text("action > 0 OR event != 1")
    op.create_index(
        "clicks_noteworthy",
        "clicks",
        ["time", "event", "action", "host", "recipient_ref"],
        unique=False,
        sqlite_where=noteworthy,
        postgresql_where=noteworthy,
    )

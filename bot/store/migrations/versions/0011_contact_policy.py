"""What a check-in is for and how much it matters; how much of a day's budget each channel has spent"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id

revision = '0011'
down_revision = '0010'


def upgrade() -> None:
    op.create_table('budgets',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('local_date', sa.Text(), nullable=False),
    sa.Column('spent', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_budgets')),
    sa.UniqueConstraint('channel', 'local_date', name=op.f('uq_budgets_channel_local_date'))
    )
    # In plain words, because each is one: both engines add a column with its CHECK in place, without copying the table.
    for statement in (
        "ALTER TABLE outreaches ADD COLUMN purpose TEXT DEFAULT 'service' NOT NULL"
        " CONSTRAINT ck_outreaches_purpose_known CHECK (purpose IN ('service', 'research', 'marketing'))",
        "ALTER TABLE outreaches ADD COLUMN priority TEXT DEFAULT 'normal' NOT NULL"
        " CONSTRAINT ck_outreaches_priority_known CHECK (priority IN ('high', 'normal', 'low'))",
    ):
        op.execute(statement)

"""Emergent patterns: since when each is known, and what was told of it"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0004'
down_revision = '0003'


def upgrade() -> None:
    op.create_table('patterns',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('cell', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('window_days', sa.Integer(), nullable=False),
    sa.Column('troubled', sa.Integer(), nullable=False),
    sa.Column('exposed', sa.Integer(), nullable=False),
    sa.Column('expected', sa.Double(), nullable=False),
    sa.Column('p_value', sa.Double(), nullable=False),
    sa.Column('first_seen_at', Instant(), nullable=False),
    sa.Column('last_seen_at', Instant(), nullable=False),
    sa.Column('closed_at', Instant(), nullable=True),
    sa.Column('news_at', Instant(), nullable=False),
    sa.Column('news_troubled', sa.Integer(), nullable=False),
    sa.Column('told_at', Instant(), nullable=True),
    sa.CheckConstraint("state IN ('open', 'closed')", name=op.f('ck_patterns_state_known')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_patterns'))
    )
    op.create_index(
        'uq_patterns_open', 'patterns', ['cell', 'kind'], unique=True,
        sqlite_where=sa.text("state = 'open'"), postgresql_where=sa.text("state = 'open'"),
    )

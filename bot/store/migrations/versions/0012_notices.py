"""What the bot tells its people by itself"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0012'
down_revision = '0011'


def upgrade() -> None:
    op.create_table('notices',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('text', sa.Text(), nullable=False),
    sa.Column('recorded_at', Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_notices')),
    sa.UniqueConstraint('key', name=op.f('uq_notices_key'))
    )
    op.create_index(op.f('ix_notices_recorded_at'), 'notices', ['recorded_at'], unique=False)

"""Whether somebody was reminded of a hand-over"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Instant

revision = '0013'
down_revision = '0012'


def upgrade() -> None:
    op.add_column('handoffs', sa.Column('reminded_at', Instant(), nullable=True))
    op.add_column('handoffs', sa.Column('reminders', sa.Integer(), server_default='0', nullable=False))

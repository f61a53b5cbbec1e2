"""What was known at a draw: the band of the prediction, and the channel"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'


def upgrade() -> None:
    op.add_column('assignments', sa.Column('band', sa.Text(), nullable=True))
    op.add_column('assignments', sa.Column('channel', sa.Text(), nullable=True))

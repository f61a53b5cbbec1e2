"""What readers said of the bot's answers"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0007'
down_revision = '0006'


def upgrade() -> None:
    op.create_table('ratings',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('utterance_id', Id, nullable=False),
    sa.Column('helped', sa.Boolean(), nullable=False),
    sa.Column('rated_at', Instant(), nullable=False),
    sa.ForeignKeyConstraint(['utterance_id'], ['utterances.id'], name=op.f('fk_ratings_utterance_id_utterances')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ratings')),
    sa.UniqueConstraint('utterance_id', name=op.f('uq_ratings_utterance_id'))
    )

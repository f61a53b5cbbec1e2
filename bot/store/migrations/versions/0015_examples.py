"""Which articles answer which questions, as people said, and how messages sound"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0015'
down_revision = '0014'


def upgrade() -> None:
    op.add_column('utterances', sa.Column('sentiment', sa.Double(), nullable=True))
    op.add_column('utterances', sa.Column('urgency', sa.Double(), nullable=True))
    op.create_table('examples',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('utterance_id', Id, nullable=False),
    sa.Column('article_id', Id, nullable=True),
    sa.Column('right', sa.Boolean(), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=True),
    sa.Column('recorded_at', Instant(), nullable=False),
    sa.CheckConstraint("source IN ('rating', 'agent_reply', 'agent_choice')", name=op.f('ck_examples_source_known')),
    sa.ForeignKeyConstraint(['article_id'], ['articles.id'], name=op.f('fk_examples_article_id_articles')),
    sa.ForeignKeyConstraint(['utterance_id'], ['utterances.id'], name=op.f('fk_examples_utterance_id_utterances')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_examples')),
    sa.UniqueConstraint('utterance_id', 'source', name=op.f('uq_examples_utterance_id_source'))
    )

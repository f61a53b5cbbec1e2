"""Drafts of articles about gaps, who asked, and where an article's version comes from"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant, Json

revision = '0009'
down_revision = '0008'


def upgrade() -> None:
    op.add_column('article_versions', sa.Column('origin', sa.Text(), server_default='files', nullable=False))
    op.create_table('gap_drafts',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('version', sa.Integer(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('questions', Json, nullable=True),
    sa.Column('locale', sa.Text(), nullable=False),
    sa.Column('times', sa.Integer(), nullable=False),
    sa.Column('customers', sa.Integer(), nullable=False),
    sa.Column('affected', sa.Double(), nullable=False),
    sa.Column('proposed_at', Instant(), nullable=False),
    sa.Column('decided_at', Instant(), nullable=True),
    sa.Column('decided_by', sa.Text(), nullable=True),
    sa.Column('article_version_id', Id, nullable=True),
    sa.CheckConstraint("state IN ('proposed', 'published', 'declined', 'withdrawn')", name=op.f('ck_gap_drafts_state_known')),
    sa.ForeignKeyConstraint(['article_version_id'], ['article_versions.id'], name=op.f('fk_gap_drafts_article_version_id_article_versions')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gap_drafts'))
    )
    op.create_index(op.f('ix_gap_drafts_state'), 'gap_drafts', ['state'], unique=False)
    op.create_table('gap_questions',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('gap_draft_id', Id, nullable=False),
    sa.Column('utterance_id', Id, nullable=False),
    sa.Column('told', sa.Text(), nullable=True),
    sa.Column('told_at', Instant(), nullable=True),
    sa.Column('outreach_id', Id, nullable=True),
    sa.ForeignKeyConstraint(['gap_draft_id'], ['gap_drafts.id'], name=op.f('fk_gap_questions_gap_draft_id_gap_drafts')),
    sa.ForeignKeyConstraint(['outreach_id'], ['outreaches.id'], name=op.f('fk_gap_questions_outreach_id_outreaches')),
    sa.ForeignKeyConstraint(['utterance_id'], ['utterances.id'], name=op.f('fk_gap_questions_utterance_id_utterances')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_gap_questions')),
    sa.UniqueConstraint('gap_draft_id', 'utterance_id', name=op.f('uq_gap_questions_gap_draft_id_utterance_id'))
    )
    op.create_index(op.f('ix_gap_questions_utterance_id'), 'gap_questions', ['utterance_id'], unique=False)

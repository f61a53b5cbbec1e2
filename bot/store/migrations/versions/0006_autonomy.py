"""How far playbooks go by themselves; what a pattern's card says, and which check-ins were proposed for its sake"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant, Json

revision = '0006'
down_revision = '0004'

KINDS = "kind IN ('approve', 'edit', 'reject', 'snooze', 'claim', 'undo', 'retry', 'settle', 'hold', 'close')"
LEVELS = "'draft', 'approve', 'auto_after', 'auto'"
DRAFT = (
    "autonomy <> 'draft' OR state NOT IN "
    "('approved', 'failed', 'replied', 'sending', 'sent', 'uncertain')"
)
ANSWERS = "answer IN ('acknowledged', 'dismissed')"


def upgrade() -> None:
    op.create_table('autonomy_steps',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('playbook', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('playbook_version', sa.Text(), nullable=False),
    sa.Column('way', sa.Text(), nullable=False),
    sa.Column('level', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('numbers', Json, nullable=False),
    sa.Column('recorded_at', Instant(), nullable=False),
    sa.CheckConstraint("way IN ('offered', 'granted', 'lowered', 'fell_back')", name=op.f('ck_autonomy_steps_way_known')),
    sa.CheckConstraint(f"level IN ({LEVELS})", name=op.f('ck_autonomy_steps_level_known')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_autonomy_steps')),
    sa.UniqueConstraint('playbook', 'number', name=op.f('uq_autonomy_steps_playbook_number'))
    )
    # In plain words, because each is one: both engines add a column with its CHECK in place, without copying the table.
    for statement in (
        "ALTER TABLE patterns ADD COLUMN sentence TEXT",
        "ALTER TABLE patterns ADD COLUMN silent INTEGER",
        f"ALTER TABLE patterns ADD COLUMN answer TEXT CONSTRAINT ck_patterns_answer_known CHECK ({ANSWERS})",
        "ALTER TABLE patterns ADD COLUMN answered_by TEXT",
        "ALTER TABLE outreaches ADD COLUMN autonomy TEXT DEFAULT 'approve' NOT NULL"
        f" CONSTRAINT ck_outreaches_autonomy_known CHECK (autonomy IN ({LEVELS}))"
        f" CONSTRAINT ck_outreaches_draft_is_never_sent CHECK ({DRAFT})",
    ):
        op.execute(statement)
    op.add_column('patterns', sa.Column('answered_at', Instant(), nullable=True))
    number = 'INTEGER' if op.get_bind().dialect.name == 'sqlite' else 'BIGINT'
    op.execute(
        f"ALTER TABLE outreaches ADD COLUMN pattern_id {number}"
        " CONSTRAINT fk_outreaches_pattern_id REFERENCES patterns (id)"
    )
    op.create_index(op.f('ix_outreaches_pattern_id'), 'outreaches', ['pattern_id'])
    # SQLite cannot change a CHECK in place: the table is copied, and its old CHECK left behind.
    with op.batch_alter_table('decisions') as decisions:
        if op.get_bind().dialect.name != 'sqlite':
            decisions.drop_constraint(op.f('ck_decisions_kind_known'), type_='check')
        decisions.create_check_constraint(op.f('ck_decisions_kind_known'), sa.text(KINDS))

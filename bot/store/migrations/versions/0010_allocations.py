"""The shares of variants that move with the outcomes, and by which a customer was drawn"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant, Json

revision = '0010'
down_revision = '0009'


def upgrade() -> None:
    op.create_table('allocations',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('playbook', sa.Text(), nullable=False),
    sa.Column('experiment', sa.Text(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('way', sa.Text(), nullable=False),
    sa.Column('shares', Json, nullable=False),
    sa.Column('chances', Json, nullable=False),
    sa.Column('stopped', Json, nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('decided_at', Instant(), nullable=False),
    sa.CheckConstraint("way IN ('begun', 'moved', 'stopped', 'decided', 'expired')", name=op.f('ck_allocations_way_known')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_allocations')),
    sa.UniqueConstraint('experiment', 'number', name=op.f('uq_allocations_experiment_number'))
    )
    with op.batch_alter_table('assignments') as batch:
        batch.add_column(sa.Column('allocation_id', Id, nullable=True))
        batch.create_foreign_key(op.f('fk_assignments_allocation_id_allocations'), 'allocations', ['allocation_id'], ['id'])

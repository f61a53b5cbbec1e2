"""Customers' ways through playbooks, and the versions that they keep to"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0014'
down_revision = '0013'


def upgrade() -> None:
    op.create_table('playbook_versions',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('playbook', sa.Text(), nullable=False),
    sa.Column('version', sa.Text(), nullable=False),
    sa.Column('content', sa.Text(), nullable=False),
    sa.Column('recorded_at', Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_playbook_versions')),
    sa.UniqueConstraint('playbook', 'version', name=op.f('uq_playbook_versions_playbook_version'))
    )
    op.create_table('journeys',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('customer_id', Id, nullable=False),
    sa.Column('order_id', Id, nullable=True),
    sa.Column('playbook', sa.Text(), nullable=False),
    sa.Column('playbook_version', sa.Text(), nullable=False),
    sa.Column('assignment_id', Id, nullable=False),
    sa.Column('arm', sa.Text(), nullable=False),
    sa.Column('trigger_at', Instant(), nullable=False),
    sa.Column('started_at', Instant(), nullable=False),
    sa.Column('step', sa.Text(), nullable=False),
    sa.Column('outreach_id', Id, nullable=True),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('due_at', Instant(), nullable=True),
    sa.Column('exit_reason', sa.Text(), nullable=True),
    sa.Column('ended_at', Instant(), nullable=True),
    sa.CheckConstraint("state IN ('active', 'ended')", name=op.f('ck_journeys_state_known')),
    sa.ForeignKeyConstraint(['assignment_id'], ['assignments.id'], name=op.f('fk_journeys_assignment_id_assignments')),
    sa.ForeignKeyConstraint(['customer_id'], ['customers.id'], name=op.f('fk_journeys_customer_id_customers')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_journeys_order_id_orders')),
    sa.ForeignKeyConstraint(['outreach_id'], ['outreaches.id'], name=op.f('fk_journeys_outreach_id_outreaches')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_journeys')),
    sa.UniqueConstraint('customer_id', 'playbook', 'trigger_at', name=op.f('uq_journeys_customer_id_playbook_trigger_at'))
    )
    op.create_index(op.f('ix_journeys_order_id'), 'journeys', ['order_id'])
    op.create_index(op.f('ix_journeys_outreach_id'), 'journeys', ['outreach_id'])
    op.create_index(op.f('ix_journeys_state_journeys_customer_id'), 'journeys', ['state', 'customer_id'])

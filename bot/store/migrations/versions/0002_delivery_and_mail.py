"""Token buckets, inbound mail, and what a human says of an uncertain outreach; `outreaches.held` was never used"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0002'
down_revision = '0001'

KINDS = "kind IN ('approve', 'edit', 'reject', 'snooze', 'claim', 'undo', 'retry', 'settle')"


def upgrade() -> None:
    op.create_table('buckets',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('channel', sa.Text(), nullable=False),
    sa.Column('tokens', sa.Double(), nullable=False),
    sa.Column('filled_at', Instant(), nullable=False),
    sa.Column('paused_until', Instant(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_buckets')),
    sa.UniqueConstraint('channel', name=op.f('uq_buckets_channel'))
    )
    op.create_table('mailboxes',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('uid_validity', sa.BigInteger(), nullable=False),
    sa.Column('last_uid', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', Instant(), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mailboxes')),
    sa.UniqueConstraint('name', name=op.f('uq_mailboxes_name'))
    )
    op.create_table('mails',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('source', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('received_at', Instant(), nullable=False),
    sa.Column('raw', sa.LargeBinary(), nullable=True),
    sa.Column('octets', sa.Integer(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('next_attempt_at', Instant(), nullable=True),
    sa.Column('handled_at', Instant(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=True),
    sa.Column('effect', sa.Text(), nullable=True),
    sa.Column('about', sa.Text(), nullable=True),
    sa.Column('address_hash', sa.Text(), nullable=True),
    sa.Column('customer_id', Id, nullable=True),
    sa.Column('outreach_id', Id, nullable=True),
    sa.CheckConstraint("state IN ('received', 'done', 'failed')", name=op.f('ck_mails_state_known')),
    sa.ForeignKeyConstraint(['customer_id'], ['customers.id'], name=op.f('fk_mails_customer_id')),
    sa.ForeignKeyConstraint(['outreach_id'], ['outreaches.id'], name=op.f('fk_mails_outreach_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_mails')),
    sa.UniqueConstraint('key', name=op.f('uq_mails_key'))
    )
    op.create_index(op.f('ix_mails_state'), 'mails', ['state'])
    op.create_index(op.f('ix_mails_received_at'), 'mails', ['received_at'])
    op.create_index(op.f('ix_mails_customer_id'), 'mails', ['customer_id'])
    op.create_index(op.f('ix_mails_address_hash'), 'mails', ['address_hash'])
    op.execute('ALTER TABLE outreaches DROP COLUMN held')
    # SQLite cannot change a CHECK in place: the table is copied, and its old CHECK left behind.
    with op.batch_alter_table('decisions') as decisions:
        if op.get_bind().dialect.name != 'sqlite':
            decisions.drop_constraint(op.f('ck_decisions_kind_known'), type_='check')
        decisions.create_check_constraint(op.f('ck_decisions_kind_known'), sa.text(KINDS))

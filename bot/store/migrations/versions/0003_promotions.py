"""Who became champion, when and why; a rollback can be repeated"""

import sqlalchemy as sa
from alembic import op

from bot.store.columns import Id, Instant

revision = '0003'
down_revision = '0002'

# What was known of promotions so far: retired versions older than the champion lie below it, in their order.
KNOWN = """
    INSERT INTO promotions (kind, moment, horizon_days, number, model_version_id, below, way, actor, reason, recorded_at)
    SELECT m.kind, m.moment, m.horizon_days, p.place, m.id, CASE WHEN p.place > 1 THEN p.place - 1 END,
        CASE WHEN p.place > 1 THEN 'gate' ELSE 'first' END, 'system', 'champion before promotions were written down', m.created_at
    FROM model_versions AS m JOIN (
        SELECT o.id, row_number() OVER (PARTITION BY o.kind, o.moment, o.horizon_days ORDER BY o.version) AS place
        FROM model_versions AS o JOIN model_versions AS c
            ON c.kind = o.kind AND c.moment = o.moment AND c.horizon_days = o.horizon_days AND c.status = 'champion'
        WHERE o.id = c.id OR (o.status = 'retired' AND o.version < c.version)
    ) AS p ON p.id = m.id
"""


def upgrade() -> None:
    op.create_table('promotions',
    sa.Column('id', Id, sa.Identity(always=False), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('moment', sa.Text(), nullable=False),
    sa.Column('horizon_days', sa.Integer(), nullable=False),
    sa.Column('number', sa.Integer(), nullable=False),
    sa.Column('model_version_id', Id, nullable=False),
    sa.Column('below', sa.Integer(), nullable=True),
    sa.Column('way', sa.Text(), nullable=False),
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('recorded_at', Instant(), nullable=False),
    sa.CheckConstraint("way IN ('first', 'gate', 'hand', 'rollback')", name=op.f('ck_promotions_way_known')),
    sa.ForeignKeyConstraint(['model_version_id'], ['model_versions.id'], name=op.f('fk_promotions_model_version_id')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_promotions')),
    sa.UniqueConstraint('kind', 'moment', 'horizon_days', 'number', name=op.f('uq_promotions_kind_moment_horizon_days_number'))
    )
    op.create_index(op.f('ix_promotions_model_version_id'), 'promotions', ['model_version_id'])
    op.execute(KNOWN)

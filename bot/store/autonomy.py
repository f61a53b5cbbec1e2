"""What autonomy is judged by and what was decided about it: steps, people's judgements, what is on screen, objections.

The judging is `bot.decide.autonomy`'s business, the moving of check-ins `bot.store.outreach`'s.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from bot.decide.autonomy import AFTERCARE, Act, Judged, verdict
from bot.decide.lifecycle import OutreachState
from bot.decide.playbook import Autonomy
from bot.store.controls import STOPPED, control, get_control, set_control
from bot.store.enums import AutonomyWay, DecisionKind
from bot.store.once import insert_once
from bot.store.outreach import Outreach, list_outreach
from bot.store.tables import metadata

__all__ = [
    "OBJECTION_DAYS",
    "Step",
    "append_step",
    "judgements",
    "latest_offers",
    "objections_since",
    "on_screen",
    "recipients_since",
    "standing_steps",
    "step",
    "steps_of",
    "touched",
    "visible_from",
    "waiting_unasked",
    "watch",
    "watch_is_due",
]

steps = metadata.tables["autonomy_steps"]
outreaches = metadata.tables["outreaches"]
decisions = metadata.tables["decisions"]
slack_posts = metadata.tables["slack_posts"]
consents = metadata.tables["consents"]
mails = metadata.tables["mails"]

# An opt-out, or a report as spam, within so long after a check-in counts against it.
OBJECTION_DAYS = 14
# The switch that says since when, and until when, agents could see the review channel without interruption.
WATCH = "slack_watch"
# It is written this often at most; shorter losses of the connection than `gap` do not show in it.
WATCH_EVERY = timedelta(seconds=30)
_AUTOMATIC = (Autonomy.AUTO_AFTER.value, Autonomy.AUTO.value)
_ACTS = {
    DecisionKind.APPROVE: Act.APPROVE,
    DecisionKind.EDIT: Act.CHANGE,
    DecisionKind.REJECT: Act.REJECT,
    DecisionKind.UNDO: Act.UNDO,
}
IDS_A_TIME = 1000


@dataclass(frozen=True, kw_only=True)
class Step:
    """One thing that was offered or decided about a playbook's autonomy; `number` counts them within the playbook."""

    id: int
    playbook: str
    number: int
    playbook_version: str
    way: AutonomyWay
    level: Autonomy
    actor: str
    numbers: Mapping[str, Any]
    recorded_at: datetime


def step(connection: Connection, step_id: int) -> Step | None:
    """Return one step."""
    row = connection.execute(sa.select(steps).where(steps.c.id == step_id)).one_or_none()
    return None if row is None else _step(row)


def steps_of(connection: Connection, playbook: str, limit: int | None = None) -> list[Step]:
    """Return a playbook's steps, latest first."""
    query = sa.select(steps).where(steps.c.playbook == playbook).order_by(steps.c.number.desc()).limit(limit)
    return [_step(row) for row in connection.execute(query)]


def standing_steps(connection: Connection) -> dict[str, Step]:
    """Return, by playbook, the latest step that decided something; an offer alone decides nothing."""
    return _latest(connection, steps.c.way != AutonomyWay.OFFERED.value)


def latest_offers(connection: Connection) -> dict[str, Step]:
    """Return the latest offer of each playbook that ever had one."""
    return _latest(connection, steps.c.way == AutonomyWay.OFFERED.value)


def append_step(
    connection: Connection,
    *,
    playbook: str,
    number: int,
    playbook_version: str,
    way: AutonomyWay,
    level: Autonomy,
    actor: str,
    numbers: Mapping[str, Any],
    now: datetime,
) -> int | None:
    """Write down a step, the `number`-th of its playbook; None says that somebody else has just written it."""
    values = {
        "playbook": playbook,
        "number": number,
        "playbook_version": playbook_version,
        "way": way.value,
        "level": level.value,
        "actor": actor,
        "numbers": dict(numbers),
        "recorded_at": now,
    }
    return insert_once(connection, steps, values)


def judgements(connection: Connection, playbook: str, version: str, since: datetime) -> list[Judged]:
    """Return what people made of a playbook's check-ins, of this text of it, from an instant on."""
    human = (
        sa.select(decisions.c.outreach_id)
        .join(outreaches, outreaches.c.id == decisions.c.outreach_id)
        .where(
            outreaches.c.playbook == playbook,
            outreaches.c.playbook_version == version,
            decisions.c.recorded_at >= since,
            decisions.c.actor != AFTERCARE,
            decisions.c.kind.in_([kind.value for kind in _ACTS]),
        )
        .distinct()
    )
    ids = sorted(connection.execute(human).scalars())
    found: dict[int, list[Any]] = {}
    columns = decisions.c
    for first in range(0, len(ids), IDS_A_TIME):
        page = ids[first : first + IDS_A_TIME]
        query = (
            sa.select(
                columns.outreach_id, columns.kind, columns.actor, columns.draft_before, columns.draft_after,
                columns.recorded_at,
            )
            .where(columns.outreach_id.in_(page), columns.kind.in_([kind.value for kind in _ACTS]))
            .order_by(columns.outreach_id, columns.outreach_version)
        )  # fmt: skip
        for row in connection.execute(query):
            found.setdefault(row.outreach_id, []).append(row)
    judged: list[Judged] = []
    for rows in found.values():
        said = verdict((_act(row), row.actor == AFTERCARE) for row in rows)
        if said is not None:
            at = max(row.recorded_at for row in rows if row.actor != AFTERCARE)
            judged.append(Judged(as_written=said, at=at))
    return judged


def recipients_since(connection: Connection, playbook: str, version: str, since: datetime) -> int:
    """Count the check-ins of a playbook, of this text of it, that were sent from an instant on."""
    query = sa.select(sa.func.count()).select_from(outreaches).where(*_sent(playbook, version, since))
    return int(connection.execute(query).scalar_one())


def objections_since(connection: Connection, playbook: str, version: str, since: datetime) -> int:
    """Count those of them after which the customer soon opted out, or called it spam.

    A complaint about the order is none about the message, and does not count.
    """
    out = outreaches.c
    query = (
        sa.select(out.id, out.sent_at, consents.c.recorded_at)
        .join(consents, sa.and_(consents.c.customer_id == out.customer_id, consents.c.channel == out.channel))
        .where(*_sent(playbook, version, since), consents.c.granted.is_(False))
        .where(consents.c.recorded_at >= out.sent_at)
    )
    within = timedelta(days=OBJECTION_DAYS)
    against = {row.id for row in connection.execute(query) if row.recorded_at <= row.sent_at + within}
    spam = (
        sa.select(out.id)
        .join(mails, mails.c.outreach_id == out.id)
        .where(*_sent(playbook, version, since), mails.c.effect == "complained")
    )
    return len(against | set(connection.execute(spam).scalars()))


def touched(connection: Connection, outreach_ids: Collection[int]) -> set[int]:
    """Return those with which a person did something: stopped, claimed, snoozed, decided, took back."""
    query = sa.select(decisions.c.outreach_id).where(
        decisions.c.outreach_id.in_(list(outreach_ids)), decisions.c.actor != AFTERCARE
    )
    return {int(one) for one in connection.execute(query.distinct()).scalars()}


def on_screen(connection: Connection, outreach_ids: Collection[int]) -> dict[int, tuple[datetime, str]]:
    """Return, of those that have a card in Slack, since when, and what it shows."""
    wanted = [str(one) for one in outreach_ids]
    columns = slack_posts.c
    query = sa.select(columns.subject, columns.posted_at, columns.shown).where(
        columns.purpose == "card", columns.subject.in_(wanted)
    )
    return {int(row.subject): (row.posted_at, row.shown) for row in connection.execute(query)}


def waiting_unasked(connection: Connection, playbooks: Collection[str], now: datetime) -> list[list[Outreach]]:
    """Return, in pages, the suggested check-ins of some playbooks that were proposed to go out by themselves, oldest first.

    Those that somebody took in hand are left out.
    """
    columns = outreaches.c
    handled = sa.select(decisions.c.id).where(decisions.c.outreach_id == columns.id, decisions.c.actor != AFTERCARE)
    query = (
        sa.select(columns.id)
        .where(
            columns.state == OutreachState.SUGGESTED.value,
            columns.autonomy.in_(_AUTOMATIC),
            columns.playbook.in_(sorted(playbooks)),
            columns.expires_at > now,
            ~handled.exists(),
        )
        .order_by(columns.id)
    )
    ids = list(connection.execute(query).scalars())
    pages = [ids[first : first + IDS_A_TIME] for first in range(0, len(ids), IDS_A_TIME)]
    return [sorted(list_outreach(connection, ids=page), key=lambda one: one.id) for page in pages]


def watch_is_due(connection: Connection, now: datetime) -> bool:
    """Say whether it is time to write down again that agents see the review channel."""
    seen = get_control(connection, WATCH)
    return not seen or not timedelta(0) <= now - datetime.fromisoformat(seen["until"]) < WATCH_EVERY


def watch(connection: Connection, now: datetime, gap: timedelta) -> None:
    """Write down that agents see the review channel now; after a longer gap than `gap`, that they see it again."""
    seen = get_control(connection, WATCH)
    since = datetime.fromisoformat(seen["since"]) if seen else now
    until = datetime.fromisoformat(seen["until"]) if seen else now
    if now - until > gap or now < since:
        since = now
    value = {"since": since.isoformat(), "until": now.isoformat()}
    set_control(connection, WATCH, value, "system", now)


def visible_from(connection: Connection, now: datetime, gap: timedelta, *, surely: bool) -> datetime | None:
    """Return since when agents see the review channel, and sending is not stopped, without a gap; None: they do not.

    Parameters
    ----------
    surely : bool
        False: where nobody wrote down that they see it, they begin to now.
    """
    seen, stopped = get_control(connection, WATCH), control(connection, STOPPED)
    if stopped is not None and stopped.value is not None:
        return None
    if not seen or now - datetime.fromisoformat(seen["until"]) > gap:
        return None if surely else now
    since = datetime.fromisoformat(seen["since"])
    return max(since, stopped.updated_at) if stopped is not None else since


def _latest(connection: Connection, which: sa.ColumnElement[bool]) -> dict[str, Step]:
    newest = sa.select(sa.func.max(steps.c.id)).where(which).group_by(steps.c.playbook)
    return {row.playbook: _step(row) for row in connection.execute(sa.select(steps).where(steps.c.id.in_(newest)))}


def _sent(playbook: str, version: str, since: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    columns = outreaches.c
    return columns.playbook == playbook, columns.playbook_version == version, columns.sent_at >= since


def _act(row: Any) -> Act:
    kind = DecisionKind(row.kind)
    if kind is DecisionKind.EDIT and (row.draft_before or "").strip() == (row.draft_after or "").strip():
        return Act.APPROVE
    return _ACTS[kind]


def _step(row: Any) -> Step:
    typed = {"way": AutonomyWay(row.way), "level": Autonomy(row.level)}
    return Step(**{**row._mapping, **typed})

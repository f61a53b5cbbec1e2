"""The plan: whom to check in with today, whom not and why; drawn into arms before anybody sees a suggestion.

Whom a playbook means and what the policy says is `bot.services.audience`'s reading, in what order and with
which arm `bot.services.ruling`'s; here it is drafted and stored. Running it again on the same local date,
after a crash or by a second scheduler, proposes nothing twice: every step has a dedupe key, every draw stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import structlog

from bot.clock import Clock, local_date, local_midnight
from bot.config import Settings
from bot.decide import policy
from bot.decide.playbook import Band
from bot.decide.value import is_urgent
from bot.errors import ModelError, NotFound
from bot.services.audience import AudienceReader, Considered, Unmatched, experiment_of
from bot.services.drafting import Drafted, Drafter
from bot.services.plan_lines import PlanLine, line_of, refusal_of
from bot.services.playbooks import Playbooks
from bot.services.ruling import Ruler, Ruling, may_be_proposed
from bot.store import audit
from bot.store.controls import get_control
from bot.store.database import Connection, Database
from bot.store.enums import PlanDecision, RunState
from bot.store.journeys import chunks, product_names
from bot.store.outreach import NewOutreach, insert_outreach
from bot.store.planning import (
    Forecast,
    StoredArm,
    article_version_ids,
    forecasts_since,
    proposed_on,
    store_arm,
    store_refusals,
)
from bot.store.runs import finish_run, run_of, start_run
from bot.store.shop import customer_by_key
from messages.catalogue import Catalogue
from messages.errors import TemplateError
from messages.knowledge import KnowledgeIndex

__all__ = ["PlanLine", "Planner", "Rescore"]

log = structlog.get_logger(__name__)
# A writing transaction of so many rows stays far under 100 ms.
SUGGESTIONS_A_TIME = 25
REFUSALS_A_TIME = 500

# The job under which the table of runs remembers that a kind was predicted on a local date.
SCORING = "score"

# Predict now: (kind, as of, whether to store) -> the forecasts.
Rescore = Callable[[str, datetime, bool], Sequence[Forecast]]
Item = TypeVar("Item")


class Planner:
    """Plans one day's check-ins.

    Parameters
    ----------
    rescore : callable, optional
        Called for each kind that this planner has not predicted today; without it, what was predicted today by
        others is all there is.
    index : callable, optional
        Gives the knowledge base from which articles are attached.
    preview : callable, optional
        Gives it to a dry run, if `index` may write (it imports articles at its first use).
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        catalogue: Catalogue,
        playbooks: Playbooks,
        *,
        rescore: Rescore | None = None,
        index: Callable[[], KnowledgeIndex] | None = None,
        preview: Callable[[], KnowledgeIndex] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._playbooks = playbooks
        self._rescore = rescore
        self._kinds = sorted({playbook.audience.prediction.kind for playbook in playbooks.all})
        self._catalogue = catalogue
        self._index = index
        self._preview = preview or index
        self._ruler = Ruler(settings)
        cool_downs = [playbook.cool_down for playbook in playbooks.all]
        self._reader = AudienceReader(settings, max(cool_downs, default=timedelta(0)))

    def plan(self, dry_run: bool = False) -> list[PlanLine]:
        """Propose today's check-ins and store who is left alone and why.

        Parameters
        ----------
        dry_run : bool
            Say the same and write nothing at all.

        Returns
        -------
        list of PlanLine
            Suggestions first, the worthiest on top.
        """
        now = self._clock.now()
        today = local_date(now, self._settings.shop.zone).isoformat()
        forecasts = self._forecasts(now, save=not dry_run)
        with self._database.read() as connection:
            candidates = list(self._candidates(connection, forecasts, now, today))
            room = max(self._settings.scheduler.daily_capacity - proposed_on(connection, today), 0)
            names = self._product_names(connection, candidates)
        rulings = self._ruler.rule(candidates, room, now)
        suggested = [(one, ruling) for one, ruling in rulings if ruling.decision is PlanDecision.SUGGEST]
        refused = [(one, ruling) for one, ruling in rulings if ruling.decision is not PlanDecision.SUGGEST]
        lines: list[PlanLine] = []
        drafter = Drafter(self._settings, self._catalogue, self._preview if dry_run else self._index)
        for batch in _batches(suggested, SUGGESTIONS_A_TIME):
            drafted = [(one, *_draft(drafter, one, ruling, names)) for one, ruling in batch]
            lines += [line_of(*each) for each in drafted] if dry_run else self._store(drafted, now, today)
        for refusals in _batches(refused, REFUSALS_A_TIME):
            if not dry_run:
                self._store_refusals(refusals, now, today)
            lines += [line_of(one, ruling) for one, ruling in refusals]
        if not dry_run:
            self._finish(lines, now, today)
        return lines

    def refresh(self) -> int:
        """Predict every kind that a playbook asks for and that was not predicted today; return how many subjects."""
        return self._refresh(self._clock.now())

    def explain(self, customer_key: str) -> list[dict[str, Any]]:
        """Say of one customer, playbook by playbook, why they are or are not contacted; writes nothing.

        Raises
        ------
        NotFound
            There is no such customer.
        """
        now = self._clock.now()
        today = local_date(now, self._settings.shop.zone).isoformat()
        forecasts = self._forecasts(now, save=False)
        with self._database.read() as connection:
            customer = customer_by_key(connection, customer_key)
            if customer is None:
                raise NotFound(f"there is no customer {customer_key!r}; use the shop's own customer id")
            stopped = bool(get_control(connection, "stopped"))
            chain: list[dict[str, Any]] = []
            for playbook in self._playbooks.all:
                theirs = [one for one in forecasts[playbook.audience.prediction.kind] if one.customer_id == customer.id]
                if not theirs:
                    chain.append({"customer_id": customer_key, "playbook": playbook.id, "audience": "no prediction"})
                read = self._reader.read(connection, playbook, theirs, now, today=today, stopped=stopped, explain=True)
                chain.extend(self._explain_one(customer_key, found, now) for found in read)
            return chain

    # --- Reading -------------------------------------------------------------------------------------

    def _forecasts(self, now: datetime, *, save: bool) -> dict[str, Sequence[Forecast]]:
        if save:
            self._refresh(now)
        zone = self._settings.shop.zone
        today = local_date(now, zone)
        # The whole day, because another process's clock may run a little ahead of this one's.
        since, before = local_midnight(today, zone), local_midnight(today + timedelta(days=1), zone)
        found: dict[str, Sequence[Forecast]] = {}
        for kind in self._kinds:
            if (
                not save
                and not self._scored_today(kind, now)
                and (fresh := self._score(kind, now, save=False)) is not None
            ):
                found[kind] = fresh
                continue
            with self._database.read() as connection:
                found[kind] = forecasts_since(connection, kind, since, before)
        return found

    def _refresh(self, now: datetime) -> int:
        count = 0
        for kind in self._kinds:
            if self._scored_today(kind, now) or (fresh := self._score(kind, now, save=True)) is None:
                continue
            count += len(fresh)
            with self._database.write() as connection:
                key = self._scoring_key(kind, now)
                start_run(connection, SCORING, key, now)
                finish_run(connection, SCORING, key, RunState.DONE, {"subjects": len(fresh)}, now)
        return count

    def _scored_today(self, kind: str, now: datetime) -> bool:
        with self._database.read() as connection:
            run = run_of(connection, SCORING, self._scoring_key(kind, now))
        return run is not None and run.state == RunState.DONE

    def _scoring_key(self, kind: str, now: datetime) -> str:
        return f"{kind}:{local_date(now, self._settings.shop.zone)}"

    def _score(self, kind: str, now: datetime, *, save: bool) -> Sequence[Forecast] | None:
        """Predict now; None where that cannot be: then what was predicted today by others counts."""
        if self._rescore is None:
            return None
        try:
            return self._rescore(kind, now, save)
        except ModelError as error:
            log.warning("not_scored", kind=kind, problem=str(error))
            return None

    def _candidates(
        self, connection: Connection, forecasts: dict[str, Sequence[Forecast]], now: datetime, today: str
    ) -> Iterator[Considered]:
        """Yield whom the playbooks mean: of a customer's orders only the worthiest a playbook."""
        stopped = bool(get_control(connection, "stopped"))
        for playbook in self._playbooks.all:
            best: dict[int, Considered] = {}
            kind = playbook.audience.prediction.kind
            for one in self._reader.read(connection, playbook, forecasts[kind], now, today=today, stopped=stopped):
                if isinstance(one, Unmatched):
                    continue
                other = best.get(one.customer.id)
                if other is None or one.worth > other.worth:
                    best[one.customer.id] = one
            yield from (one for one in best.values() if not one.done)

    def _product_names(self, connection: Connection, candidates: Sequence[Considered]) -> dict[int, str]:
        wanted = (one.order.id for one in candidates if one.order is not None and may_be_proposed(one.verdict))
        names: dict[int, str] = {}
        for page in chunks(wanted):
            names |= product_names(connection, page)
        return names

    # --- Writing -------------------------------------------------------------------------------------

    def _store(
        self, drafted: Sequence[tuple[Considered, Ruling, Drafted | None]], now: datetime, today: str
    ) -> list[PlanLine]:
        cited = {words.article for _, _, words in drafted if words is not None and words.article is not None}
        lines: list[PlanLine] = []
        with self._database.write() as connection:
            articles = article_version_ids(connection, cited)
            for one, ruling, words in drafted:
                arm = self._store_arm(connection, one, now)
                line = line_of(one, ruling, words)
                if words is None:
                    store_refusals(connection, [refusal_of(one, ruling, today, arm.id)], now)
                    lines.append(line)
                    continue
                if arm.arm != one.drawn.arm:
                    continue  # drawn meanwhile under other settings; that draw stands, the next plan reads it
                new = self._outreach(one, ruling, words, today, arm.id, articles)
                if (stored := insert_outreach(connection, new, now)) is not None:
                    lines.append(line.stored(stored))
        return lines

    def _store_refusals(self, refused: Sequence[tuple[Considered, Ruling]], now: datetime, today: str) -> None:
        with self._database.write() as connection:
            rows = []
            for one, ruling in refused:
                arm = self._store_arm(connection, one, now) if ruling.draws else None
                rows.append(refusal_of(one, ruling, today, None if arm is None else arm.id))
            store_refusals(connection, rows, now)

    def _store_arm(self, connection: Connection, one: Considered, now: datetime) -> StoredArm:
        return store_arm(
            connection,
            customer_id=one.customer.id,
            playbook=one.playbook.id,
            experiment=experiment_of(one.playbook, self._settings),
            arm=one.drawn.arm,
            propensity=one.drawn.propensity,
            salt=self._settings.experiments.salt,
            now=now,
        )

    def _outreach(
        self,
        one: Considered,
        ruling: Ruling,
        words: Drafted,
        today: str,
        assignment_id: int,
        articles: dict[tuple[str, int], int],
    ) -> NewOutreach:
        assert one.channel is not None  # nobody without an address is suggested
        return NewOutreach(
            dedupe_key=f"{one.customer.id}:{one.playbook.id}:{one.step.id}:{today}",
            customer_id=one.customer.id,
            order_id=one.order.id if one.order is not None else None,
            playbook=one.playbook.id,
            playbook_version=one.playbook.version,
            step=one.step.id,
            channel=one.channel,
            local_date=today,
            assignment_id=assignment_id,
            prediction_id=one.forecast.prediction_id,
            article_version_id=articles.get(words.article) if words.article is not None else None,
            template=words.template,
            locale=words.locale,
            subject=words.subject,
            draft=words.text,
            reasons=[dict(reason) for reason in one.forecast.reasons],
            probability=one.forecast.probability,
            band=one.forecast.band,
            urgent=is_urgent(one.playbook.goal, Band(one.forecast.band)),
            not_before=ruling.not_before or one.facts.now,
            expires_at=self._ruler.expires_at(one, ruling),
        )

    def _finish(self, lines: Sequence[PlanLine], now: datetime, today: str) -> None:
        counts = {decision.value: sum(line.decision is decision for line in lines) for decision in PlanDecision}
        log.info("planned", local_date=today, **counts)
        if lines:
            with self._database.write() as connection:
                audit.record(
                    connection, at=now, actor="system", action="plan", entity="plan", entity_id=today, detail=counts
                )

    def _explain_one(self, customer_key: str, found: Considered | Unmatched, now: datetime) -> dict[str, Any]:
        start = {
            "customer_id": customer_key,
            "playbook": found.playbook.id,
            "kind": found.forecast.kind,
            "moment": found.forecast.moment,
            "probability": round(found.forecast.probability, 4),
            "band": found.forecast.band,
        }
        if isinstance(found, Unmatched):
            return {**start, "audience": found.why}
        facts = found.facts
        ruling = (
            Ruling(decision=PlanDecision.SUGGEST, reason="proposed today already")
            if found.done
            else self._ruler.rule_one(found, 1, None, now)
        )
        return {
            **start,
            "audience": "match",
            "order_id": found.order.external_id if found.order is not None else None,
            "step": found.step.id,
            "channel": found.channel,
            "zone": str(facts.zone),
            "contacts": [contact.isoformat() for contact in facts.contacts],
            "consent": facts.consent,
            "cool_down_until": facts.cool_down_until,
            "proposed_until": facts.proposed_until,
            "worth": round(found.worth, 4),
            "arm": found.drawn.arm,
            "decision": ruling.decision.value,
            "reason": ruling.reason,
            "until": ruling.until,
            "not_before": ruling.not_before,
        }


def _draft(
    drafter: Drafter, one: Considered, ruling: Ruling, names: Mapping[int, str]
) -> tuple[Ruling, Drafted | None]:
    try:
        return ruling, drafter.draft(one, names.get(one.order.id) if one.order is not None else None)
    except TemplateError as error:
        log.warning("draft_failed", customer=one.customer.id, playbook=one.playbook.id, problem=str(error))
        reason = policy.Reason.MISSING_FACT.value
        return Ruling(decision=PlanDecision.REFUSE, reason=reason, draws=ruling.draws), None


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

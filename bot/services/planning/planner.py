"""The plan: whom to check in with today, whom not and why; drawn into arms before anybody sees a suggestion.

Whom a playbook means and what the policy says is `bot.services.planning.audience`'s reading, who of a range of customers may be
proposed `bot.services.planning.sifting`'s, in what order and with which arm `bot.services.planning.ruling`'s; here it is drafted and
stored. Running it again on the same local date, after a crash or by a second scheduler, proposes nothing twice: every
step has a dedupe key, every draw stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.decide import policy
from bot.decide.playbook import EVENT
from bot.services.planning.audience import Considered
from bot.services.planning.drafting import Drafted, Drafter
from bot.services.planning.explaining import explain_customer
from bot.services.planning.forecasting import Forecasting, Rescore
from bot.services.planning.plan_lines import PlanLine, line_of
from bot.services.planning.plan_store import SUGGESTIONS_A_TIME, PlanStore, batches
from bot.services.planning.playbooks import Playbooks
from bot.services.planning.ruling import Room, Ruler, Ruling, may_be_proposed, room_left
from bot.services.planning.sifting import Sifted, Sifter
from bot.store import audit
from bot.store.database import Connection, Database
from bot.store.enums import PlanDecision
from bot.store.journeys import chunks, product_names
from bot.store.parts import customer_ranges
from bot.store.planning import Forecast, begun_on, proposed_on
from messages.catalogue import Catalogue
from messages.errors import TemplateError
from messages.knowledge import KnowledgeIndex

__all__ = ["PlanLine", "Planner"]

log = structlog.get_logger(__name__)
# Candidates of so many customers are held in memory at a time.
CUSTOMERS_A_TIME = 20_000


class Planner:
    """Plans one day's check-ins.

    Parameters
    ----------
    rescore : callable, optional
        Called for each kind that was not predicted today; without it, what was predicted today by others is all
        there is.
    index : callable, optional
        Gives the knowledge base from which articles are attached.
    preview : callable, optional
        Gives it to a dry run, if `index` may write (it imports articles at its first use).
    customers_at_a_time : int
        How many customers are gone through at once.
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
        customers_at_a_time: int = CUSTOMERS_A_TIME,
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        kinds = {playbook.kind for playbook in playbooks.all if playbook.audience.prediction is not None}
        self._forecasting = Forecasting(database, settings, kinds, rescore)
        self._catalogue = catalogue
        self._index = index
        self._preview = preview or index
        self._ruler = Ruler(settings)
        self._sifter = Sifter(settings, playbooks)
        self._store = PlanStore(database, settings, playbooks, self._ruler)
        self._at_a_time = customers_at_a_time

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
        now, today = self._clock.now(), self._today()
        if dry_run:
            forecasts = self._forecasting.unstored(now)
        else:
            self._forecasting.refresh(now)
            forecasts = self._forecasting.stored(now)
        with self._database.read() as connection:
            ranges = customer_ranges(connection, self._at_a_time)
            room = self._room(connection, today)
        nominees: list[Considered] = []
        refused: list[PlanLine] = []
        for customers in ranges:
            with self._database.read() as connection:
                sifted = self._sifter.sift(connection, forecasts, customers, room=room, now=now, today=today)
            nominees += sifted.nominees
            if not dry_run:
                self._store.ended(sifted.ended, now)
                self._store.refusals(sifted.refused, now, today)
            refused += [line_of(one, ruling) for one, ruling in sifted.refused]
        lines = self._rule(nominees, now, today, dry_run=dry_run) + refused
        if not dry_run:
            self._finish(Counter(line.decision.value for line in lines), today)
        return lines

    def plan_part(self, now: datetime, first: int, last: int) -> dict[str, Any]:
        """Do the first half of a plan for the customers with ids in a range: store who is refused for good.

        Returns
        -------
        dict
            What `conclude` needs to know, as JSON values: the nominees, by playbook the ids of their predictions, or of the
            customers where it asks for none; the ways of which a later step is due; how many were refused, by decision.
        """
        today = self._today(now)
        with self._database.read() as connection:
            room = self._room(connection, today)
            forecasts = self._forecasting.stored(now)
            sifted = self._sifter.sift(connection, forecasts, (first, last), room=room, now=now, today=today)
        self._store.ended(sifted.ended, now)
        self._store.refusals(sifted.refused, now, today)
        return {**_names(sifted), "refused": Counter(ruling.decision.value for _, ruling in sifted.refused)}

    def conclude(self, now: datetime, parts: Iterable[Mapping[str, Any]]) -> int:
        """Do the second half of a plan, over the nominees of all its parts; return how many lines it had."""
        today = self._today(now)
        counts: Counter[str] = Counter()
        ids: dict[str, list[int]] = {}
        on_their_way: list[int] = []
        for part in parts:
            counts.update(part["refused"])
            on_their_way += part["on_their_way"]
            for playbook, found in part["nominees"].items():
                ids.setdefault(playbook, []).extend(found)
        with self._database.read() as connection:
            forecasts = self._forecasting.stored(now)
            nominees = self._sifter.again(connection, forecasts, ids, now=now, today=today, on_their_way=on_their_way)
        counts.update(line.decision.value for line in self._rule(nominees, now, today))
        self._finish(counts, today)
        return counts.total()

    def plan_pattern(self, dimension: str, kind: str, forecasts: Sequence[Forecast]) -> list[PlanLine]:
        """Propose check-ins to buyers in a pattern who have not complained, and store who is left alone and why.

        The same playbook steps, policy, draw and room as of any day; the same day again proposes nothing twice.

        Parameters
        ----------
        forecasts : sequence of Forecast
            One an order, of kind `bot.decide.playbook.PATTERN`.
        """
        now, today = self._clock.now(), self._today()
        with self._database.read() as connection:
            found = self._sifter.of_pattern(connection, dimension, kind, forecasts, now=now, today=today)
        return self._rule(found, now, today)

    def refresh(self) -> int:
        """Predict every kind that a playbook asks for and that was not predicted today; return how many subjects."""
        return self._forecasting.refresh(self._clock.now())

    def explain(self, customer_key: str) -> list[dict[str, Any]]:
        """Say of one customer, playbook by playbook, why they are or are not contacted; writes nothing.

        Raises
        ------
        NotFound
            There is no such customer.
        """
        now = self._clock.now()
        forecasts = self._forecasting.unstored(now)
        with self._database.read() as connection:
            today = self._today(now)
            return explain_customer(
                connection,
                self._sifter,
                self._ruler,
                forecasts,
                customer_key,
                room=self._room(connection, today),
                now=now,
                today=today,
            )

    def _today(self, now: datetime | None = None) -> str:
        return local_date(now or self._clock.now(), self._settings.shop.zone).isoformat()

    def _room(self, connection: Connection, today: str) -> Room:
        """Return how many check-ins the agents' day still holds."""
        return room_left(self._settings, proposed_on(connection, today), begun_on(connection, today))

    def _rule(
        self, nominees: Sequence[Considered], now: datetime, today: str, *, dry_run: bool = False
    ) -> list[PlanLine]:
        """Rule on all nominees at once, draft those who are proposed, and store both."""
        with self._database.read() as connection:
            room = self._room(connection, today)
            names = self._product_names(connection, nominees)
        rulings = self._ruler.rule(nominees, room, now)
        suggested = [(one, ruling) for one, ruling in rulings if ruling.decision is PlanDecision.SUGGEST]
        refused = [(one, ruling) for one, ruling in rulings if ruling.decision is not PlanDecision.SUGGEST]
        lines: list[PlanLine] = []
        if not dry_run:
            # The held-out come first: whoever dies after the last suggestion leaves a day that is full, in which nobody is
            # drawn any more, and the arms would not be of one kind.
            self._store.refusals([found for found in refused if found[1].draws], now, today)
        drafter = Drafter(self._settings, self._catalogue, self._preview if dry_run else self._index)
        for batch in batches(suggested, SUGGESTIONS_A_TIME):
            drafted = [(one, *_draft(drafter, one, ruling, names)) for one, ruling in batch]
            lines += [line_of(*each) for each in drafted] if dry_run else self._store.suggestions(drafted, now, today)
        if not dry_run:
            self._store.refusals([found for found in refused if not found[1].draws], now, today)
        return lines + [line_of(one, ruling) for one, ruling in refused]

    def _product_names(self, connection: Connection, candidates: Sequence[Considered]) -> dict[int, str]:
        wanted = (one.order.id for one in candidates if one.order is not None and may_be_proposed(one.verdict))
        names: dict[int, str] = {}
        for page in chunks(wanted):
            names |= product_names(connection, page)
        return names

    def _finish(self, counts: Mapping[str, int], today: str) -> None:
        detail = {decision.value: counts.get(decision.value, 0) for decision in PlanDecision}
        log.info("planned", local_date=today, **detail)
        if any(detail.values()):
            with self._database.write() as connection:
                audit.record(
                    connection,
                    at=self._clock.now(),
                    actor="system",
                    action="plan",
                    entity="plan",
                    entity_id=today,
                    detail=detail,
                )


def _names(sifted: Sifted) -> dict[str, Any]:
    """Return, by playbook, the ids of the predictions or customers by which nominees are found again, and of ways."""
    found: dict[str, list[int]] = {}
    for one in sifted.nominees:
        if one.journey is None:
            named = one.customer.id if one.playbook.kind == EVENT else one.forecast.prediction_id
            assert named is not None  # what a part reads is stored
            found.setdefault(one.playbook.id, []).append(named)
    return {"nominees": found, "on_their_way": [one.journey.id for one in sifted.nominees if one.journey is not None]}


def _draft(
    drafter: Drafter, one: Considered, ruling: Ruling, names: Mapping[int, str]
) -> tuple[Ruling, Drafted | None]:
    try:
        return ruling, drafter.draft(one, names.get(one.order.id) if one.order is not None else None)
    except TemplateError as error:
        log.warning("draft_failed", customer=one.customer.id, playbook=one.playbook.id, problem=str(error))
        reason = policy.Reason.MISSING_FACT.value
        return Ruling(decision=PlanDecision.REFUSE, reason=reason, draws=ruling.draws), None

"""The day's check-ins in portions, so that a person can follow: the planner's own two halves, the second a few at a time.

Who is proposed, held out or refused is the planner's business; this only decides when the next ones are ruled on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from bot.clock import local_date
from bot.services.daily import JOB
from bot.services.review.cards import CardView
from bot.store.enums import RunState
from bot.store.planning import forecasts_by_ids
from bot.store.runs import finish_run, start_run
from bot.store.shop import customers_by_id
from bot.wiring import App

__all__ = ["Arrivals", "skip_daily_round"]

EVERYBODY = 2**31 - 1
ALL_CARDS = 1000


class Arrivals:
    """Those who may be written to today, the worthiest first, brought a few at a time."""

    def __init__(self, app: App) -> None:
        self._app = app
        now = app.clock.now()
        app.planner.refresh()
        nominees: Mapping[str, list[int]] = app.planner.plan_part(now, 1, EVERYBODY)["nominees"]
        with app.database.read() as connection:
            forecasts = forecasts_by_ids(connection, [one for ids in nominees.values() for one in ids])
            people = customers_by_id(connection, {one.customer_id for one in forecasts})
        in_slack = {one.prediction_id for one in forecasts if people[one.customer_id].slack_user_id}
        self._waiting = [(playbook, one, one in in_slack) for playbook, ids in nominees.items() for one in ids]

    def counts(self) -> Counter[str]:
        """Return how many wait, by playbook."""
        return Counter(playbook for playbook, _, _ in self._waiting)

    def bring(self, count: int, playbook: str | None = None, *, in_slack: bool = False) -> list[CardView]:
        """Propose some check-ins; return their cards, fewer where fewer are left.

        Parameters
        ----------
        playbook : str, optional
            Those of this one first.
        in_slack : bool
            Customers who can be reached in Slack first.
        """
        review = self._app.review
        known = {one.id for one in review.queue(ALL_CARDS)}
        found: list[int] = []
        while self._waiting and len(found) < count:
            chosen = min(
                self._waiting,
                key=lambda one: (playbook is not None and one[0] != playbook, in_slack and not one[2]),
            )
            self._waiting.remove(chosen)
            self._conclude({chosen[0]: [chosen[1]]})
            found += [one.id for one in review.queue(ALL_CARDS) if one.id not in known and one.id not in found]
        return [review.card(one) for one in found]

    def bring_all(self) -> int:
        """Propose all who still wait; return how many were ruled on."""
        nominees: dict[str, list[int]] = {}
        for playbook, prediction, _ in self._waiting:
            nominees.setdefault(playbook, []).append(prediction)
        self._waiting.clear()
        return self._conclude(nominees)

    def _conclude(self, nominees: Mapping[str, Sequence[int]], on_their_way: Sequence[int] = ()) -> int:
        """Rule on people of the morning's plan, as the end of a plan does."""
        part = {"refused": {}, "nominees": nominees, "on_their_way": on_their_way}
        return self._app.planner.conclude(self._app.clock.now(), [part])


def skip_daily_round(app: App, now: datetime) -> None:
    """Note the round of a day as done: the demo plans its days itself."""
    day = local_date(now, app.settings.shop.zone).isoformat()
    with app.database.write() as connection:
        if start_run(connection, JOB, day, now, {"owner": "demo"}):
            finish_run(connection, JOB, day, RunState.DONE, {"owner": "demo"}, now)

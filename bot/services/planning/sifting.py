"""The first half of a plan: who of a range of customers may be proposed at all.

What is refused to a customer hangs on nobody else, and no range can bring more into the agents' day than the day
holds. So customers may be gone through range by range, also on several machines, and what is left of each is few.
Who of those is proposed is decided over all of them, in `bot.services.planning.planner`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.config import Settings
from bot.decide.playbook import EVENT
from bot.services.planning.audience import AudienceReader, Considered, Unmatched
from bot.services.planning.forecasting import Forecasts
from bot.services.planning.gains import with_gains
from bot.services.planning.journeys import Journeys
from bot.services.planning.occasions import Occasions
from bot.services.planning.playbooks import Playbooks
from bot.services.planning.ruling import Room, Ruler, Ruling
from bot.store.controls import get_control
from bot.store.database import Connection
from bot.store.instances import StoredJourney
from bot.store.journeys import chunks
from bot.store.planning import Forecast, forecasts_by_ids

__all__ = ["Sifted", "Sifter"]


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """What a range of customers comes to.

    Attributes
    ----------
    nominees : sequence of Considered
        Those between whom and the other ranges' the plan decides.
    refused : sequence of (Considered, Ruling)
        Those about whom nothing in another range could change anything.
    ended : sequence of (StoredJourney, str)
        Ways through playbooks that have ended, and why.
    """

    nominees: Sequence[Considered]
    refused: Sequence[tuple[Considered, Ruling]]
    ended: Sequence[tuple[StoredJourney, str]] = ()


class Sifter:
    """Sifts customers by the playbooks and the policy; reads only."""

    def __init__(self, settings: Settings, playbooks: Playbooks) -> None:
        self._settings = settings
        self._playbooks = playbooks
        # Those of patterns are asked for by an agent, not by the day (`of_pattern`).
        self._daily = [one for one in playbooks.all if one.audience.pattern is None]
        self._ruler = Ruler(settings)
        cool_downs = [playbook.cool_down for playbook in playbooks.all]
        longest = max(cool_downs, default=timedelta(0))
        self._reader = AudienceReader(settings, longest)
        self._occasions = Occasions(settings)
        self._journeys = Journeys(settings, playbooks, longest)

    def sift(
        self,
        connection: Connection,
        forecasts: Forecasts,
        customers: tuple[int, int],
        *,
        room: Room,
        now: datetime,
        today: str,
    ) -> Sifted:
        """Sift the customers with ids in a range.

        Parameters
        ----------
        room : Room
            How many check-ins the agents' day still holds.
        """
        read = {
            kind: with_gains(connection, self._settings, forecasts, forecasts(connection, kind, customers))
            for kind in self._kinds
        }
        wanted = [
            (one.id, self._occasions.of(connection, one, customers, now) if one.kind == EVENT else read[one.kind])
            for one in self._daily
        ]
        candidates = self._candidates(connection, wanted, now, today)
        stopped = bool(get_control(connection, "stopped"))
        gone_on = self._journeys.go_on(connection, now, today=today, stopped=stopped, customers=customers)
        candidates += [one for one in gone_on.due if not one.done]
        nominees, refused = self._ruler.sift(candidates, room, now)
        return Sifted(nominees=nominees, refused=refused, ended=gone_on.ended)

    def again(
        self,
        connection: Connection,
        forecasts: Forecasts,
        nominees: Mapping[str, Sequence[int]],
        *,
        now: datetime,
        today: str,
        on_their_way: Sequence[int] = (),
    ) -> list[Considered]:
        """Read nominees once more, as things stand now.

        Parameters
        ----------
        nominees : mapping
            Playbook: the ids of the predictions that it means, or of the customers where it asks for none.
        on_their_way : sequence of int
            The ids of the ways of which a later step is due.
        """
        known = {playbook.id: playbook for playbook in self._playbooks.all}
        wanted: list[tuple[str, Sequence[Forecast]]] = []
        for name, ids in nominees.items():
            if name not in known:
                continue
            if known[name].kind == EVENT:
                pages = (self._occasions.of(connection, known[name], page, now) for page in chunks(ids))
                wanted.append((name, [one for page in pages for one in page]))
            else:
                read = forecasts_by_ids(connection, ids)
                wanted.append((name, with_gains(connection, self._settings, forecasts, read)))
        candidates = self._candidates(connection, wanted, now, today)
        stopped = bool(get_control(connection, "stopped"))
        for page in chunks(on_their_way):
            gone_on = self._journeys.go_on(connection, now, today=today, stopped=stopped, ids=page)
            candidates += [one for one in gone_on.due if not one.done]
        return candidates

    def of_pattern(
        self,
        connection: Connection,
        dimension: str,
        kind: str,
        forecasts: Sequence[Forecast],
        *,
        now: datetime,
        today: str,
    ) -> list[Considered]:
        """Return who of a pattern's silent buyers is meant by the playbooks that take their audience from such patterns."""
        wanted = [
            (one.id, forecasts)
            for one in self._playbooks.all
            if one.audience.pattern is not None and one.audience.pattern.meets(dimension, kind)
        ]
        return self._candidates(connection, wanted, now, today)

    def explain(
        self, connection: Connection, forecasts: Forecasts, customer_id: int, *, now: datetime, today: str
    ) -> Iterator[tuple[str, list[Considered | Unmatched]]]:
        """Yield, by playbook, what it makes of each prediction of a customer, also of those that it does not mean."""
        stopped = bool(get_control(connection, "stopped"))
        for playbook in self._daily:
            if playbook.kind == EVENT:
                theirs: Sequence[Forecast] = self._occasions.of(connection, playbook, [customer_id], now)
            else:
                theirs = forecasts(connection, playbook.kind, (customer_id, customer_id))
                theirs = with_gains(connection, self._settings, forecasts, theirs)
            found = self._reader.read(connection, playbook, theirs, now, today=today, stopped=stopped, explain=True)
            yield playbook.id, list(found)

    @property
    def _kinds(self) -> set[str]:
        return {playbook.kind for playbook in self._daily} - {EVENT}

    def _candidates(
        self, connection: Connection, wanted: Iterable[tuple[str, Sequence[Forecast]]], now: datetime, today: str
    ) -> list[Considered]:
        """Return whom the playbooks mean: of a customer's orders only the worthiest a playbook."""
        stopped = bool(get_control(connection, "stopped"))
        playbooks = {playbook.id: playbook for playbook in self._playbooks.all}
        found: list[Considered] = []
        for name, forecasts in wanted:
            best: dict[int, Considered] = {}
            for one in self._reader.read(connection, playbooks[name], forecasts, now, today=today, stopped=stopped):
                if isinstance(one, Unmatched):
                    continue
                other = best.get(one.customer.id)
                if other is None or one.worth > other.worth:
                    best[one.customer.id] = one
            found += [one for one in best.values() if not one.done]
        return found

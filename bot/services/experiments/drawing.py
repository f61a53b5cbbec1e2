"""Drawing customers: from the shares in force, before anybody sees a suggestion; what was drawn before stands.

Two draws decide about a contact: one over all playbooks together (`experiments.global_holdout_share`), and for the rest one in
each playbook. The hash is in `bot.decide.assignment`, moving the shares in `allocating`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from bot.config import Settings
from bot.decide.assignment import HOLDOUT, Arm, Assignment, arms, draw
from bot.decide.playbook import Playbook
from bot.store.allocations import StoredAllocation, latest_allocation
from bot.store.database import Connection
from bot.store.planning import StoredArm, arms_of, store_arm
from bot.store.shop import Customer

__all__ = ["EVERYWHERE", "Drawer", "Draws", "experiment_of", "holdout_share"]

# What stands for all playbooks together, where one is named; no playbook can have this id.
EVERYWHERE = "*"


def experiment_of(playbook: str, settings: Settings) -> str:
    """Return the name of a playbook's running experiment: another salt starts another one."""
    return f"{playbook}@{settings.experiments.salt}"


def holdout_share(playbook: Playbook, settings: Settings) -> float:
    """Return which share of its customers a playbook leaves alone."""
    return settings.experiments.holdout_share if playbook.holdout_share is None else playbook.holdout_share


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The draws of some customers for one playbook: those that stand, and the shares for all others."""

    salt: str
    playbook: str
    stored: Mapping[int, StoredArm]
    choices: tuple[Arm, ...]
    allocation_id: int | None
    everywhere: Mapping[int, StoredArm]
    everywhere_choices: tuple[Arm, ...]

    def of(self, customer: Customer) -> tuple[Assignment, int | None]:
        """Return a customer's draw, and the id under which it is stored already."""
        key = f"{customer.source}:{customer.external_id}"
        if self.everywhere_choices:
            known = self.everywhere.get(customer.id)
            whole = (
                draw(self.salt, EVERYWHERE, key, self.everywhere_choices)
                if known is None
                else Assignment(arm=known.arm, propensity=known.propensity)
            )
            if whole.holdout:
                return replace(whole, everywhere=True), None
        stored = self.stored.get(customer.id)
        if stored is not None:
            return Assignment(arm=stored.arm, propensity=stored.propensity), stored.id
        drawn = draw(self.salt, self.playbook, key, self.choices)
        return replace(drawn, allocation_id=self.allocation_id), None


class Drawer:
    """Draws by the shop's settings and the shares in force."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._salt = settings.experiments.salt
        share = settings.experiments.global_holdout_share
        self._everywhere = arms(share) if share > 0 else ()

    def read(self, connection: Connection, playbook: Playbook, customer_ids: Collection[int]) -> Draws:
        """Read the draws of some customers for a playbook."""
        experiment = experiment_of(playbook.id, self._settings)
        moving = self._settings.experiments.allocation == "thompson" and len(playbook.arms) > 1
        allocation = latest_allocation(connection, experiment) if moving else None
        choices = arms(holdout_share(playbook, self._settings), playbook.arms)
        if allocation is not None and fits(allocation, choices):
            choices = tuple(Arm(name=arm.name, share=allocation.shares[arm.name]) for arm in choices)
        else:
            allocation = None
        everywhere = experiment_of(EVERYWHERE, self._settings)
        return Draws(
            salt=self._salt,
            playbook=playbook.id,
            stored=arms_of(connection, customer_ids, experiment),
            choices=choices,
            allocation_id=None if allocation is None else allocation.id,
            everywhere=arms_of(connection, customer_ids, everywhere) if self._everywhere else {},
            everywhere_choices=self._everywhere,
        )

    def store(
        self,
        connection: Connection,
        playbook: str,
        customer: Customer,
        drawn: Assignment,
        now: datetime,
        *,
        band: str,
        channel: str | None,
    ) -> StoredArm | None:
        """Store a draw, in a writing transaction; None for somebody held out everywhere, who is in no playbook's experiment."""

        def keep(name: str, one: Assignment) -> StoredArm:
            return store_arm(
                connection,
                customer_id=customer.id,
                playbook=name,
                experiment=experiment_of(name, self._settings),
                arm=one.arm,
                propensity=one.propensity,
                salt=self._salt,
                now=now,
                band=band,
                channel=channel,
                allocation_id=one.allocation_id,
            )

        if drawn.everywhere:
            keep(EVERYWHERE, drawn)
            return None
        if self._everywhere:
            key = f"{customer.source}:{customer.external_id}"
            keep(
                EVERYWHERE, draw(self._salt, EVERYWHERE, key, self._everywhere)
            )  # who is stored already stays what they are
        return keep(playbook, drawn)


def fits(allocation: StoredAllocation, choices: Collection[Arm]) -> bool:
    """Say whether shares are about these arms and this holdout: a playbook's file may have changed since."""
    held = next((arm.share for arm in choices if arm.name == HOLDOUT), 0.0)
    return set(allocation.shares) == {arm.name for arm in choices} and abs(allocation.shares[HOLDOUT] - held) < 1e-9

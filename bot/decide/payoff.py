"""What contacting earned: the bad ends it averted, at what each is worth, less what the messages cost. And when to stop it.

How many bad ends were averted is `bot.decide.effect`'s and `bot.decide.sequential`'s reading; amounts are in one currency.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.decide.effect import Reading

__all__ = ["Costs", "Payoff", "payoff"]


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a message costs.

    Attributes
    ----------
    contact : float
        The agent's minute and the sending.
    fatigue : float
        What it costs that a customer heard from the shop once more; a guess that the shop makes.
    """

    contact: float
    fatigue: float

    @property
    def message(self) -> float:
        """Both together."""
        return self.contact + self.fatigue


@dataclass(frozen=True, kw_only=True)
class Payoff:
    """What the messages of one playbook earned so far, all together, with the ends of the interval that holds at all looks."""

    averted: float
    gain: float
    cost: float
    low: float
    high: float
    messages: float
    retire: bool

    @property
    def value(self) -> float:
        """Gain less cost."""
        return self.gain - self.cost

    @property
    def per_message(self) -> float | None:
        """Of each message that was sent; None where none was."""
        return self.value / self.messages if self.messages else None


def payoff(
    *,
    drawn: int,
    sent_share: float,
    difference: float,
    low: float,
    high: float,
    reading: Reading,
    worth: float,
    costs: Costs,
) -> Payoff:
    """Return what contacting so many customers earned: lift × worth − costs.

    It is to be retired where it does harm, or where even the best that the interval at all looks holds does not pay for the
    messages. Nothing is proposed on too few customers, or where the arms are not as they were drawn.

    Parameters
    ----------
    drawn : int
        Customers drawn to be contacted.
    sent_share : float
        Which share of them was sent anything.
    difference, low, high : float
        Of the share of bad ends, contacted less held out, with its interval at all looks: negative is good.
    worth : float
        What one averted bad end is worth.
    """
    messages = drawn * sent_share
    cost = messages * costs.message
    best = -low * drawn * worth - cost
    unreadable = reading in (Reading.TOO_FEW, Reading.MISMATCH)
    return Payoff(
        averted=-difference * drawn,
        gain=-difference * drawn * worth,
        cost=cost,
        low=-high * drawn * worth - cost,
        high=best,
        messages=messages,
        retire=not unreadable and messages > 0 and (reading is Reading.HARMS or best < 0),
    )

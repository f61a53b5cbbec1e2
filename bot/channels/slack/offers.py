"""The message that offers a playbook to send at once, with the numbers; it says later what became of the offer.

What is offered and decided is `bot.services.review.earning`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot.channels.slack.autonomy_cards import BoardAction
from bot.channels.slack.boards import actor_named
from bot.channels.slack.cards import Rendered, button, context, local_time, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.text import cut, escape, one_line
from bot.clock import Clock
from bot.decide.playbook import Autonomy
from bot.services.review.earning import Course, Earning
from bot.store.autonomy import Step
from bot.store.enums import AutonomyWay
from bot.store.slack import OFFER

__all__ = ["OfferBoard"]

TITLE_LIMIT = 80
# What ended so long ago is left as it stands.
SETTLED_AFTER = timedelta(days=7)


class OfferBoard:
    """The offers, and the playbooks that send at once by them."""

    purpose = OFFER

    def __init__(self, earning: Earning, clock: Clock, roster: Roster) -> None:
        self._earning = earning
        self._clock = clock
        self._roster = roster

    def drawn(self) -> Sequence[tuple[int, Rendered]]:
        """Draw the latest offer of each playbook, with what was decided about it since."""
        found: list[tuple[int, Rendered]] = []
        for record in self._earning.offered():
            at = next((i for i, one in enumerate(record.steps) if one.way is AutonomyWay.OFFERED), None)
            if at is None:
                continue
            offer, after = record.steps[at], list(reversed(record.steps[:at]))
            over = record.level is not Autonomy.AUTO and (after or offer.playbook_version != record.version)
            if over and self._clock.now() - record.steps[0].recorded_at > SETTLED_AFTER:
                continue
            found.append((offer.id, self._draw(record, offer, after)))
        return found

    def posted(self, subject: int) -> None:
        """Nothing is to be noted."""

    def _draw(self, record: Course, offer: Step, after: Sequence[Step]) -> Rendered:
        name = escape(cut(one_line(record.title), TITLE_LIMIT))
        changed = offer.playbook_version != record.version
        text = f"“{name}” may send at once"
        blocks = [section(f"🎓 *{text}*, if you want it to.\n{self._numbers(offer.numbers)}")]
        blocks += [section(self._said(one)) for one in after[-5:]]
        if record.level is Autonomy.AUTO:
            blocks.append(context(self._terms()))
            blocks.append(
                {"type": "actions", "elements": [button(BoardAction.BACK, "Ask about each again", str(offer.id))]}
            )
        elif changed:
            blocks.append(
                section("The playbook's text was changed since: each is asked about, until it is earned anew.")
            )
        elif not after:
            blocks.append(context(self._terms()))
            accept = button(
                BoardAction.ACCEPT, "Let it send at once", str(offer.id), "primary", confirm=_question(record.title)
            )
            blocks.append({"type": "actions", "elements": [accept]})
        shown = f"{offer.id}:{record.steps[0].id}:{record.level}:{'changed' if changed else ''}"
        return Rendered(text=text, blocks=blocks, shown=shown)

    def _numbers(self, numbers: Mapping[str, Any]) -> str:
        bar = self._earning.bar
        return (
            f"Within {bar.days} days people judged *{numbers['decided']}* of its check-ins and approved"
            f" *{numbers['as_written']}* as they were written: surely {numbers['low']:.1%} or more"
            f" ({bar.as_written:.0%} is asked). {numbers['objections']} of {numbers['sent']} recipients opted out or"
            " called it spam."
        )

    def _terms(self) -> str:
        return (
            f"About {self._earning.sample:.0%} of its check-ins still wait for an agent. Each can be undone before it leaves, and"
            " policy is asked as ever. It ends by itself when the numbers fall, or with any change of the playbook's file."
        )

    def _said(self, one: Step) -> str:
        who, when = actor_named(one.actor, self._roster), local_time(one.recorded_at, self._roster)
        if one.way is AutonomyWay.GRANTED:
            return f"✅ {who} let it send at once, {when}."
        if one.way is AutonomyWay.FELL_BACK:
            missing = escape("; ".join(str(words) for words in one.numbers.get("missing", ())))
            return cut(f"↩️ *Each is asked about again* since {when}, because the numbers fell: {missing}.", 2900)
        return f"↩️ {who} went back to asking about each, {when}."


def _question(title: str) -> dict[str, Any]:
    def plain(text: str) -> dict[str, str]:
        return {"type": "plain_text", "text": text}

    return {
        "title": plain("Send at once?"),
        "text": plain(
            f"Check-ins of “{cut(one_line(title), TITLE_LIMIT)}” will go out without being asked about. One click goes back."
        ),
        "confirm": plain("Send at once"),
        "deny": plain("Cancel"),
    }

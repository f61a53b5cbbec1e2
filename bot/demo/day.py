"""The day that the demo shows while it is left running: check-ins come, a colleague approves one, its customer answers twice.

Everything goes the way it goes in a shop: the planner proposes, the review desk decides, the delivery sends, a mail comes in
by the bot's own door. The person at the keyboard may do the same things at the same time, and nothing here waits for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bot.demo.arrivals import Arrivals
from bot.demo.local_slack import AGENTS, TEAM
from bot.demo.mail_door import MailDoor
from bot.demo.mail_program import Letter, MailProgram
from bot.demo.narration import Narrator
from bot.demo.pace import Pace
from bot.demo.terminal import draw_card
from bot.errors import AftercareError
from bot.services.review.cards import CardView
from bot.store.slack import HandoffFacts, handoff_facts, handoffs_to_post, posted_handoffs
from bot.wiring import App

__all__ = ["ANSWERABLE", "SOURCE", "UNANSWERABLE", "Day", "Tools"]

COLLEAGUE = AGENTS[1]
ANSWERABLE = "My parcel is late, what can I do?"
SOURCE = "What happens when a parcel is late"
UNANSWERABLE = "Can I run the Breeze 2 on a 110 volt socket in Canada?"
COLLEAGUE_REPLY = "Lin here, a human. I have asked our workshop and will write to you tomorrow before noon."
# So long the bot may take for what it does by itself; an undo window is half a minute, the first answer loads a model.
PATIENCE_SECONDS = 90
STEP_SECONDS = 0.5
CARDS_DRAWN = 2

T = TypeVar("T")
Beat = tuple[float, str, Callable[[], bool]]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the day is played with."""

    app: App
    arrivals: Arrivals
    program: MailProgram
    door: MailDoor
    pace: Pace
    narrator: Narrator
    in_slack: bool


class Day:
    """A day of the shop, beat by beat."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._app = tools.app
        self._approved: CardView | None = None
        self._ended = False

    def play(self) -> None:
        """Play it to its end, or until the person wants something else."""
        for seconds, coming, beat in self._beats():
            when = f", in {self._tools.pace.lasts(seconds):.0f} s" if seconds else ""
            self._tools.narrator.event("", f"next{when}: {coming}", ahead=True)
            try:
                if not self._tools.pace.pause(seconds) or not beat():
                    return
            except AftercareError as error:
                self._missed(str(error))
                return

    def _beats(self) -> Iterator[Beat]:
        yield 40, f"{_first_name(COLLEAGUE.name)}, a colleague, approves one too.", self._colleague_approves
        yield 0, "half a minute in which that can be undone; then the mail is in the mailbox.", self._mail_arrives
        yield 20, "more check-ins.", lambda: self._more(3, "how_to_start")
        name = self._customer
        yield 25, f"{name} answers that mail.", self._customer_asks
        yield 35, f"{name} asks what no article knows.", self._customer_asks_more
        if not self._tools.in_slack:
            yield 25, f"{_first_name(COLLEAGUE.name)} answers {name}.", self._colleague_replies
        yield 30, "the last check-ins of the day.", lambda: self._more(2, "quiet_customer")

    def _colleague_approves(self) -> bool:
        # The least pressing first: the ones on top are left to the person who looks on.
        for outreach in reversed(self._app.review.queue()):
            card = self._app.review.card(outreach.id)
            if card.channel != "email" or self._letters_to(card):
                continue
            try:
                self._app.review.approve(outreach.id, outreach.version, self._actor)
            except AftercareError:
                continue  # decided by the person meanwhile, or claimed
            self._approved = card
            self._tell(f"{_first_name(COLLEAGUE.name)} approved the check-in to {card.customer_first_name} (a mail).")
            return True
        self._tell("All check-ins by mail are decided already, so the rest of the story is yours.")
        return False

    def _mail_arrives(self) -> bool:
        letter = self._until(lambda: next(iter(self._letters_to(self._approved)), None))
        if letter is None:
            return self._missed("the mail has not left yet")
        self._tell(f"{self._customer}’s mail is in the mailbox: “{letter.subject}”.")
        return True

    def _more(self, count: int, playbook: str) -> bool:
        cards = self._tools.arrivals.bring(count, playbook)
        names = ", ".join(f"{card.customer_first_name} ({card.outreach.playbook.replace('_', ' ')})" for card in cards)
        self._tell(f"{len(cards)} more check-ins: {names}." if cards else "There is nobody else to write to today.")
        self.draw(cards)
        return True

    def _customer_asks(self) -> bool:
        answer = self._ask(ANSWERABLE)
        if answer is None:
            return self._missed("the bot has not answered yet")
        known = SOURCE in answer.text
        self._tell(
            f"{self._customer} asked: “{ANSWERABLE}” The bot answered{f' from the article “{SOURCE}”' if known else ''};"
            " both are in the mailbox."
        )
        return True

    def _customer_asks_more(self) -> bool:
        if self._ask(UNANSWERABLE) is None:
            return self._missed("the bot has not answered yet")
        handoff = self._until(self._handoff)
        if handoff is None:
            return self._missed("it was not handed over")
        self._tell(f"{self._customer} asked: “{UNANSWERABLE}” No article answers that, so the bot handed over.")
        if self._tools.in_slack:
            self._tools.narrator.event(
                "", f"As Ada (support), open #aftercare-review and click Reply under “{self._customer} needs a human”."
            )
        return True

    def _colleague_replies(self) -> bool:
        handoff = self._handoff()
        if handoff is None:
            return True  # the person gave it back
        before = len(self._letters_of_customer())
        self._app.conversations.reply_as_agent(handoff.conversation_id, self._actor, COLLEAGUE_REPLY)
        if self._until(lambda: len(self._letters_of_customer()) > before) is None:
            return self._missed("the reply has not left yet")
        self._tell(f"{_first_name(COLLEAGUE.name)} wrote to {self._customer} as a human; read it in the mailbox.")
        return True

    def draw(self, cards: Sequence[CardView]) -> None:
        """Draw some cards where there is no Slack to look at them."""
        if not self._tools.in_slack:
            for card in cards[:CARDS_DRAWN]:
                self._tools.narrator.show(draw_card(card, brief=True))

    # --- How -------------------------------------------------------------------------------------------------

    @property
    def _actor(self) -> str:
        return f"slack:{TEAM}:{COLLEAGUE.id}" if self._tools.in_slack else "cli:lin"

    @property
    def _customer(self) -> str:
        return self._approved.customer_first_name if self._approved is not None else "The customer"

    def _ask(self, text: str) -> Letter | None:
        """Answer the newest mail as its customer; return what the bot writes back."""
        before = self._letters_of_customer()
        content = self._tools.program.reply(before[-1], text, self._app.clock.now())
        self._tools.door.post(content)
        self._tools.program.keep(content)
        return self._until(lambda: next(iter(self._letters_of_customer()[len(before) :]), None))

    def _letters_to(self, card: CardView | None) -> list[Letter]:
        """Return the mails of one check-in."""
        prefix = f"outreach-{card.outreach.id}-" if card is not None else "?"
        return [one for one in self._tools.program.letters() if one.id.startswith(prefix)]

    def _letters_of_customer(self) -> list[Letter]:
        return self._tools.program.to_customer(self._letters_to(self._approved)[0].customer)

    def _handoff(self) -> HandoffFacts | None:
        """Return the newest open hand-over of the customer."""
        assert self._approved is not None
        with self._app.database.read() as connection:
            waiting = handoffs_to_post(connection, self._app.clock.now(), limit=50)
            facts = [handoff_facts(connection, one) for one in waiting]
            facts += [one for one, _ in posted_handoffs(connection)]
        wanted = self._approved.outreach.customer_id
        return next((one for one in reversed(facts) if one is not None and one.customer_id == wanted), None)

    def _until(self, probe: Callable[[], T | None]) -> T | None:
        """Wait until something is there; None where it did not come, or the person asked to end."""
        for _ in range(round(PATIENCE_SECONDS / STEP_SECONDS)):
            if found := probe():
                return found
            if not self._tools.pace.wait(STEP_SECONDS):
                self._ended = True
                return None
        return None

    def _missed(self, what: str) -> bool:
        if not self._ended:
            self._tell(f"The story stops here: {what}. Look into aftercare.log; all goes on running.")
        return False

    def _tell(self, words: str) -> None:
        local = self._app.clock.now().astimezone(self._app.settings.shop.zone)
        self._tools.narrator.event(f"{local:%H:%M:%S}", words)


def _first_name(name: str) -> str:
    return name.split()[0]

"""`/aftercare`: what agents do from the keyboard. Every answer is for whoever asked alone.

The role is asked at every use. What is decided is the services' business; how answers look is `answers`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bot.channels.slack.answers import help_answer, queue_answer, start_question, stats_answer
from bot.channels.slack.cards import Rendered
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.home import PAGE_SIZE
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import Command, number
from bot.channels.slack.switch import SendingSwitch
from bot.channels.slack.telling import Telling
from bot.channels.slack.text import one_line
from bot.channels.slack.times import read_time
from bot.clock import Clock
from bot.errors import AftercareError, ChannelError, InputError
from bot.services.review.desk import ReviewDesk
from bot.services.review.queue import QueueFilter, ReviewQueue
from bot.services.review.standing import Standing

__all__ = ["NAME", "AgentCommands"]

log = structlog.get_logger(__name__)

NAME = "/aftercare"


class AgentCommands:
    """The words behind `/aftercare`."""

    def __init__(
        self,
        *,
        clock: Clock,
        roster: Roster,
        review: ReviewDesk,
        queue: ReviewQueue,
        standing: Standing,
        switch: SendingSwitch,
        telling: Telling,
        desk: SlackDesk,
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._review = review
        self._queue = queue
        self._standing = standing
        self._switch = switch
        self._telling = telling
        self._desk = desk
        self._known: dict[str, Callable[[Command, str], None]] = {
            "queue": self._list,
            "next": self._next,
            "show": self._show,
            "snooze": self._snooze,
            "stats": self._stats,
            "stop": self._stop,
            "start": self._start,
            "help": lambda command, _: self._say(command, help_answer()),
        }

    def run(self, command: Command) -> None:
        """Do what was written; a refusal is told to the writer alone."""
        word, _, rest = one_line(command.words).partition(" ")
        try:
            self._roster.check(command.person)
            known = self._known.get(word.lower() or "help")
            if known is None:
                self._say(command, help_answer(unknown=word))
            else:
                known(command, rest.strip())
        except ChannelError:
            raise
        except AftercareError as error:
            log.info("slack_command_refused", actor=command.person.actor, error=type(error).__name__)
            self._telling.tell(command, self._telling.sentence(error))

    def _list(self, command: Command, rest: str) -> None:
        asked = number(rest, 5) if rest else 1
        if asked is None:
            raise InputError(f"write a page behind it, such as `{NAME} queue 2`")
        page = self._queue.page(QueueFilter(), command.person.actor, asked, PAGE_SIZE)
        self._say(command, queue_answer(page, self._roster, self._clock.now(), self._roster.zone(command.person)))

    def _next(self, command: Command, _: str) -> None:
        view = self._queue.next(command.person.actor)
        if view is None:
            self._telling.tell(command, "☕ Nothing waits for a decision.")
        else:
            self._telling.card(command, view)

    def _show(self, command: Command, rest: str) -> None:
        self._telling.card(command, self._review.card(_number(rest, "show")))

    def _snooze(self, command: Command, rest: str) -> None:
        first, _, when = rest.partition(" ")
        zone = self._roster.zone(command.person)
        until = read_time(when, self._clock.now(), zone)
        version = self._review.card(_number(first, "snooze")).outreach.version
        after = self._review.snooze(_number(first, "snooze"), version, command.person.actor, until, command.key)
        self._telling.tell(
            command, f"💤 {after.id} is put aside until {until.astimezone(zone):%a %d %b %H:%M} ({zone.key})."
        )
        self._desk.show(after.id)

    def _stats(self, command: Command, _: str) -> None:
        person = command.person
        numbers = self._standing.of_agent(person.actor, self._roster.zone(person))
        queue, sending = self._standing.of_queue(), self._standing.of_sending()
        self._say(command, stats_answer(numbers, queue, sending, self._roster, self._clock.now()))

    def _stop(self, command: Command, why: str) -> None:
        changed = self._switch.stop(command.person.actor, why)
        said = "Nothing leaves from now on; the review channel knows." if changed else "It is stopped already."
        self._telling.tell(command, f"⏹ {said} `{NAME} start` lets it go on.")

    def _start(self, command: Command, _: str) -> None:
        sending = self._standing.of_sending()
        if sending.stopped_at is None:
            self._telling.tell(command, "✉️ Nothing is stopped: what is approved leaves at its time.")
        else:
            self._say(command, start_question(sending, self._roster))

    def _say(self, command: Command, answer: Rendered) -> None:
        self._telling.tell(command, answer.text, answer.blocks)


def _number(word: str, verb: str) -> int:
    found = number(word.removeprefix("#"))
    if found is None:
        raise InputError(
            f"write the number of a check-in behind it, such as `{NAME} {verb} 17`; `{NAME} queue` lists them"
        )
    return found

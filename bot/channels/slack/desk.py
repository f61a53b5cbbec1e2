"""The review channel: cards and hand-overs that show what the database says, posted once and kept up to date.

`sync()` is called at every tick and after every click; it reads, posts, then records. A process that dies between
posting and recording finds its post again by the key of its first block. Deciding is `bot.services.review.desk`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import date

import structlog

from bot.channels.slack.api import SlackApi, UnknownMethod
from bot.channels.slack.boards import Board
from bot.channels.slack.cards import Rendered, outreach_card, section
from bot.channels.slack.channel import key_of, linkable_hosts
from bot.channels.slack.digest import day_digest
from bot.channels.slack.handoffs import EXCERPT, handoff_card, reminder, standing_of, thread_line
from bot.channels.slack.identity import Roster
from bot.channels.slack.text import cut, escape
from bot.clock import Clock
from bot.config import Settings
from bot.errors import ChannelError, PermanentChannelError, TransientChannelError
from bot.services.review.desk import ReviewDesk
from bot.store import slack as posts
from bot.store.database import Database
from bot.store.examples import choices_in
from bot.store.outreach import Outreach
from bot.store.slack import ACTIVE, CARD, DIGEST, HANDOFF, PATTERN, REMINDER, HandoffFacts, Post

__all__ = ["SlackDesk"]

log = structlog.get_logger(__name__)

# How much one sync does at most, so that a queue of thousands does not keep the tick for an hour.
BATCH = 25


class SlackDesk:
    """What agents see in the review channel."""

    def __init__(
        self,
        api: SlackApi,
        database: Database,
        clock: Clock,
        settings: Settings,
        review: ReviewDesk,
        roster: Roster,
        boards: Sequence[Board] = (),
    ) -> None:
        self._api = api
        self._database = database
        self._clock = clock
        self._settings = settings
        self._review = review
        self._roster = roster
        self._boards = tuple(boards)
        self._hosts = linkable_hosts(settings)
        self._channel = settings.slack.review_channel
        self._lock = threading.RLock()  # one picture at a time, so that an older one never covers a newer one
        self._syncing = threading.Lock()
        self._again = threading.Event()  # somebody asked while a sync was under way
        # By thread (None: the channel itself), key -> ts of what was posted before this process started.
        self._found: dict[str | None, dict[str, str]] = {}

    def sync(self) -> int:
        """Post and redraw what is due; return how many messages were touched.

        Raises
        ------
        TransientChannelError
            Slack asks to wait, or is not there; the rest follows at the next tick.
        """
        touched = 0
        self._again.set()
        # A sync under way may have looked before the caller's change: it is left to look once more, but not for ever.
        for _ in range(2):
            if not self._again.is_set() or not self._syncing.acquire(blocking=False):
                break
            try:
                self._again.clear()
                touched += self._sync()
            finally:
                self._syncing.release()
        return touched

    def show(self, outreach_id: int) -> bool:
        """Post or redraw one card; False where it already shows how things stand."""
        with self._lock:
            view = self._review.card(outreach_id)
            thread = self._thread(view.outreach)
            rendered = outreach_card(
                view,
                self._roster,
                self._clock.now(),
                self._settings.review.undo_seconds,
                self._hosts,
            )
            return self._put(CARD, outreach_id, rendered, thread)

    def show_handoff(self, handoff_id: int) -> bool:
        """Post or redraw one hand-over, and bring its thread up to date."""
        with self._lock:
            with self._database.read() as connection:
                facts = posts.handoff_facts(connection, handoff_id)
                post = posts.post_of(connection, HANDOFF, handoff_id)
            if facts is None:
                return False
            return self._post_handoff(handoff_id) if post is None else self._follow(facts, post)

    # --- How -------------------------------------------------------------------------------------------------

    def _sync(self) -> int:
        now = self._clock.now()
        with self._database.read() as connection:
            new_handoffs = posts.handoffs_to_post(connection, now, BATCH)
            known_handoffs = [facts.id for facts, _ in posts.posted_handoffs(connection)]
            due_cards = posts.cards_to_update(connection, now, BATCH) + posts.cards_to_post(connection, now, BATCH)
        # A customer who waits for a human comes before new proposals.
        touched = sum(self._guarded(HANDOFF, subject, self.show_handoff) for subject in new_handoffs + known_handoffs)
        touched += sum(self._show_board(board) for board in self._boards)  # before the cards in their threads
        due_cards += [one for one in self._review.retimed()[:BATCH] if one not in due_cards]
        return touched + sum(self._guarded(CARD, subject, self.show) for subject in due_cards)

    def _show_board(self, board: Board) -> int:
        """Post or redraw what a board says."""
        touched = 0
        for subject, rendered in board.drawn():

            def put(number: int, rendered: Rendered = rendered) -> bool:
                with self._lock:
                    return self._put(board.purpose, number, rendered)

            if self._guarded(board.purpose, subject, put):
                board.posted(subject)
                touched += 1
        return touched

    def _thread(self, present: Outreach) -> str | None:
        """Return the message under which a card belongs: its pattern's, else the day's digest; None: the channel itself."""
        if present.pattern_id is not None:
            with self._database.read() as connection:
                post = posts.post_of(connection, PATTERN, present.pattern_id)
            if post is not None:
                return post.ts
        if self._settings.slack.cards == "each" or present.urgent:
            return None
        return self._digest(date.fromisoformat(present.local_date))

    def _digest(self, day: date) -> str | None:
        """Post or redraw a day's digest; return its ts, under which the day's cards stand."""
        with self._database.read() as connection:
            waiting, total = posts.digest_counts(connection, day.isoformat())
        self._put(DIGEST, day.toordinal(), day_digest(day, waiting=waiting, total=total))
        with self._database.read() as connection:
            post = posts.post_of(connection, DIGEST, day.toordinal())
        return None if post is None else post.ts

    def _put(self, purpose: str, subject: int | str, rendered: Rendered, thread: str | None = None) -> bool:
        now = self._clock.now()
        key = f"{purpose}:{subject}"
        rendered = _keyed(rendered, key)
        with self._database.read() as connection:
            post = posts.post_of(connection, purpose, subject)
        if post is not None:
            if post.shown == rendered.shown:
                return False
            self._api.update(post.channel, post.ts, rendered.text, rendered.blocks)
            with self._database.write() as connection:
                posts.record_shown(connection, purpose, subject, rendered.shown, now)
            return True
        found = self._posted_before(thread).pop(key, None)
        if found is not None:
            channel, ts = self._channel, found
            self._api.update(channel, ts, rendered.text, rendered.blocks)
        else:
            channel, ts = self._api.post(self._channel, rendered.text, rendered.blocks, key=key, thread_ts=thread)
        with self._database.write() as connection:
            # Whoever counts from when it could be seen counts from now, not from before it was posted.
            first = posts.record_post(connection, purpose, subject, channel, ts, rendered.shown, self._clock.now())
            kept = posts.post_of(connection, purpose, subject)
        if kept is not None and kept.ts != ts:  # another process was faster: its message stays, ours goes
            self._api.delete(channel, ts)
        log.info("slack_posted", purpose=purpose, subject=subject, ts=ts, kept=first, found=found is not None)
        return first

    def _posted_before(self, thread: str | None) -> dict[str, str]:
        """Return, once a thread, what an earlier process may have posted without recording it."""
        if thread not in self._found:
            try:
                history = (
                    self._api.history(self._channel)[0] if thread is None else self._api.replies(self._channel, thread)
                )
            except UnknownMethod:  # it cannot be asked here; at worst a card stands twice after a crash
                history = []
            self._found[thread] = {
                key: str(message["ts"])
                for message in history
                if message.get("user") == self._roster.bot_user_id and (key := key_of(message))
            }
        return self._found[thread]

    def _post_handoff(self, handoff_id: int) -> bool:
        with self._database.read() as connection:
            facts = posts.handoff_facts(connection, handoff_id)
            if facts is None:
                return False
            words = posts.transcript(connection, facts.conversation_id, last=EXCERPT)
            choices = choices_in(connection, facts.conversation_id)
        return self._put(HANDOFF, handoff_id, handoff_card(facts, words, self._roster, choices))

    def _follow(self, facts: HandoffFacts, post: Post) -> bool:
        """Bring later messages into the thread, and redraw the card where the hand-over's state changed."""
        state, _, seen = post.shown.partition(":")
        last = int(seen or 0)
        with self._database.read() as connection:
            later = posts.transcript(connection, facts.conversation_id, after=last)
            before = posts.transcript(connection, facts.conversation_id, last=EXCERPT + len(later))
            choices = choices_in(connection, facts.conversation_id)
        for words in later:
            line = thread_line(facts, words, self._roster)
            self._api.post(
                post.channel, cut(escape(words.text), 3000) or "(no text)", [section(line)], thread_ts=post.ts
            )
            last = words.id
            self._record(facts.id, f"{state}:{last}")
        if facts.reminders and facts.state in ACTIVE:
            self._put(REMINDER, f"{facts.id}:{facts.reminders}", reminder(facts, self._roster), post.ts)
        if state == standing_of(facts):
            return bool(later)
        excerpt = [words for words in before if not later or words.id < later[0].id]
        rendered = _keyed(handoff_card(facts, excerpt, self._roster, choices), f"{HANDOFF}:{facts.id}")
        self._api.update(post.channel, post.ts, rendered.text, rendered.blocks)
        self._record(facts.id, f"{standing_of(facts)}:{last}")
        return True

    def _record(self, handoff_id: int, shown: str) -> None:
        with self._database.write() as connection:
            posts.record_shown(connection, HANDOFF, handoff_id, shown, self._clock.now())

    def _guarded(self, purpose: str, subject: int, step: Callable[[int], bool]) -> int:
        """Do one step; one broken card must not hold up the others, a Slack that wants a pause holds up all."""
        try:
            return int(step(subject))
        except TransientChannelError:
            raise
        except PermanentChannelError as error:
            log.error("slack_post_refused", purpose=purpose, subject=subject, error=str(error))
        except ChannelError as error:
            self._found.clear()  # it may stand in the channel: look before posting again
            log.warning("slack_post_uncertain", purpose=purpose, subject=subject, error=str(error))
        return 0


def _keyed(rendered: Rendered, key: str) -> Rendered:
    """Let the first block carry the key: it is how the message is found again."""
    blocks = [{**rendered.blocks[0], "block_id": key}, *rendered.blocks[1:]]
    return Rendered(text=rendered.text, blocks=blocks, shown=rendered.shown)

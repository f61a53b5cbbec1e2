"""The desk for gaps: a draft of an article for each that is large enough, published or put aside by an agent, once.

Finding gaps is `bot.services.knowledge.curation`'s business; whoever asked is told by `bot.services.knowledge.telling`.
What is published is a version of an article like any other, with `slack` as its origin: an import of files leaves it alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from bot.clock import Clock, local_date
from bot.config import Settings
from bot.errors import AlreadyDecided, InputError, NotFound, Refused
from bot.services.knowledge.curation import Curation
from bot.services.knowledge.drafting import PLACEHOLDERS, article_id, draft_of
from bot.services.knowledge.gaps import Gap
from bot.store import audit
from bot.store import gap_drafts as store
from bot.store.database import Connection, Database
from bot.store.enums import GapState, RunState
from bot.store.gap_drafts import GapDraft, NewGapDraft
from bot.store.knowledge import NewVersion, article_ids, current_version, save_version
from bot.store.runs import finish_run, latest_runs, start_run
from messages.encoder import TextEncoder
from messages.reading import ArticleFile

__all__ = ["BODY_LIMIT", "QUESTIONS_LIMIT", "TITLE_LIMIT", "GapDesk", "GapWords"]

log = structlog.get_logger(__name__)
JOB = "gaps"
# What was decided so long ago is no longer kept up to date where it stands.
SETTLED_AFTER = timedelta(days=14)
TITLE_LIMIT = 150
# A field of a modal holds so much.
BODY_LIMIT = 3000
QUESTIONS_LIMIT = 10
QUESTION_LIMIT = 300


@dataclass(frozen=True, kw_only=True)
class GapWords:
    """What an agent made of a draft."""

    title: str
    body: str
    questions: Sequence[str]


class GapDesk:
    """Where agents deal with what no article answers."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, curation: Curation) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._rules = settings.knowledge.gaps
        self._curation = curation

    # --- Proposing -----------------------------------------------------------------------------------------------

    def look_if_due(self) -> int:
        """Propose drafts if nobody looked for as many days as the settings say; return how many."""
        now, every = self._clock.now(), self._rules.every_days
        day = local_date(now, self._settings.shop.zone)
        with self._database.read() as connection:
            latest = next(iter(latest_runs(connection, JOB, 1)), None)
        if every == 0:
            return 0
        if latest is not None and latest.state != RunState.FAILED and latest.started_at > now - timedelta(days=every):
            return 0
        with self._database.write() as connection:
            if not start_run(connection, JOB, day.isoformat(), now):
                return 0
        state, proposed = RunState.FAILED, 0
        try:
            proposed = len(self.propose())
            state = RunState.DONE
        finally:
            with self._database.write() as connection:
                finish_run(connection, JOB, day.isoformat(), state, {"proposed": proposed}, self._clock.now())
        return proposed

    def propose(self) -> list[int]:
        """Propose a draft for each gap that is large enough and has a reply; return the ids of the new ones.

        A gap whose draft waits only grows; one that was put aside comes again after a while, or when twice as many ask.
        """
        gaps = [one for one in self._curation.gaps() if one.customers >= self._rules.customers and one.replies]
        encoder = self._curation.encoder if gaps else None
        made = [(gap, _new(gap, encoder)) for gap in gaps]
        now = self._clock.now()
        proposed: list[int] = []
        with self._database.write() as connection:
            store.hold_proposals(connection)
            known, asked = store.drafts(connection), store.questions_of(connection)
            for gap, new in made:
                same = [one for one in known if _is_same(gap, asked.get(one.id, set()))]
                waiting = next((one for one in same if one.state is GapState.PROPOSED), None)
                if waiting is not None:
                    store.add_questions(connection, waiting.id, gap.utterance_ids)
                    store.grow(connection, waiting.id, new)
                elif not any(self._rests(one, gap) for one in same) and new.body:
                    draft_id = store.insert_draft(connection, new, gap.utterance_ids, now)
                    proposed.append(draft_id)
                    detail = {"customers": gap.customers, "times": gap.times}
                    self._audit(connection, "system", "gap.propose", draft_id, detail)
        if proposed:
            log.info("gap_drafts_proposed", drafts=proposed)
        return proposed

    # --- Looking -------------------------------------------------------------------------------------------------

    def views(self) -> list[GapDraft]:
        """Return the drafts that wait, and those decided lately."""
        with self._database.read() as connection:
            return store.drafts(connection, decided_since=self._clock.now() - SETTLED_AFTER)

    def view(self, draft_id: int) -> GapDraft:
        """Return one draft.

        Raises
        ------
        NotFound
            There is none with this id.
        """
        with self._database.read() as connection:
            found = store.draft(connection, draft_id)
        if found is None:
            raise NotFound("there is no such draft")
        return found

    # --- Deciding ------------------------------------------------------------------------------------------------

    def publish(self, draft_id: int, version: int, actor: str, words: GapWords | None = None) -> tuple[str, int]:
        """Make a draft a version of an article, in an agent's words where there are any; return its id and number.

        Raises
        ------
        AlreadyDecided
            Somebody was faster; nothing was changed.
        InputError
            It has no title or body, is too long, or holds the mark of a name or number that was taken out.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            store.hold_proposals(connection)  # of two drafts with one title, the second sees the first's article
            present = store.draft(connection, draft_id)
            if present is None or present.version != version or present.state is not GapState.PROPOSED:
                raise AlreadyDecided("this draft was decided meanwhile; nothing was changed")
            told = _checked(words or GapWords(title=present.title, body=present.body, questions=present.questions))
            key = article_id(told.title, draft_id, article_ids(connection))
            if key in article_ids(connection):
                raise Refused(f"there is an article {key} already; write another title")
            save_version(connection, _version(key, told, present.locale), now)
            cited = current_version(connection, key)
            assert cited is not None  # it was written just now
            if not store.publish_draft(
                connection,
                draft_id,
                version,
                title=told.title,
                article_version_id=cited.version_id,
                actor=actor,
                now=now,
            ):
                raise AlreadyDecided("this draft was decided meanwhile; nothing was changed")
            edited = words is not None and (told.title, told.body) != (present.title, present.body)
            detail = {"article": key, "version": cited.version, "edited": edited, "customers": present.customers}
            self._audit(connection, actor, "gap.publish", draft_id, detail)
        log.info("gap_published", draft=draft_id, article=key, edited=edited)
        return key, cited.version

    def decline(self, draft_id: int, version: int, actor: str) -> None:
        """Put a draft aside.

        Raises
        ------
        AlreadyDecided
            Somebody was faster; nothing was changed.
        """
        with self._database.write() as connection:
            if not store.close_draft(connection, draft_id, version, actor, self._clock.now()):
                raise AlreadyDecided("this draft was decided meanwhile; nothing was changed")
            self._audit(connection, actor, "gap.decline", draft_id, {})

    # --- How -----------------------------------------------------------------------------------------------------

    def _rests(self, one: GapDraft, gap: Gap) -> bool:
        """Say whether a gap is left alone because of an earlier draft about it."""
        if one.state is not GapState.DECLINED or one.decided_at is None:
            return False
        lately = self._clock.now() < one.decided_at + timedelta(days=self._rules.again_days)
        return lately and gap.customers < 2 * one.customers

    def _audit(
        self, connection: Connection, actor: str, action: str, draft_id: int, detail: Mapping[str, object]
    ) -> None:
        audit.record(
            connection,
            at=self._clock.now(),
            actor=actor,
            action=action,
            entity="gap",
            entity_id=draft_id,
            detail=detail,
        )


def _new(gap: Gap, encoder: TextEncoder | None) -> NewGapDraft:
    draft = draft_of(gap, encoder=encoder)
    return NewGapDraft(
        name=gap.name,
        title=draft.title[:TITLE_LIMIT],
        body=draft.body[:BODY_LIMIT],
        questions=draft.questions,
        locale=draft.locale,
        times=gap.times,
        customers=gap.customers,
        affected=gap.affected,
    )


def _is_same(gap: Gap, questions: set[int]) -> bool:
    """Say whether a gap is what a draft was written for: at least half of the fewer questions are common."""
    common = len(questions.intersection(gap.utterance_ids))
    return common > 0 and 2 * common >= min(len(questions), gap.times)


def _checked(words: GapWords) -> GapWords:
    title, body = " ".join(words.title.split()), words.body.replace("\0", "").strip()
    questions = tuple(dict.fromkeys(line for one in words.questions if (line := " ".join(one.split()))))
    if not title or len(title) > TITLE_LIMIT:
        raise InputError(f"the title must be one line of at most {TITLE_LIMIT} characters")
    if not body or len(body) > BODY_LIMIT:
        raise InputError(f"write what the customer should know, in at most {BODY_LIMIT} characters")
    if len(questions) > QUESTIONS_LIMIT or any(len(one) > QUESTION_LIMIT for one in questions):
        raise InputError(f"at most {QUESTIONS_LIMIT} questions of at most {QUESTION_LIMIT} characters each")
    left = [mark for mark in PLACEHOLDERS if any(mark in text for text in (title, body, *questions))]
    if left:
        raise InputError(f"it still holds {', '.join(left)}, where something about one customer stood; edit it first")
    return replace(words, title=title, body=body, questions=questions)


def _version(key: str, words: GapWords, locale: str) -> NewVersion:
    # The same digest as a file of the same content has: importing that file later is no new version.
    file = ArticleFile(id=key, title=words.title, body=words.body, questions=tuple(words.questions), locale=locale)
    return NewVersion(
        external_id=key,
        title=words.title,
        body=words.body,
        questions=words.questions,
        tags=(),
        locale=locale,
        products=(),
        valid_from=None,
        valid_until=None,
        owner=None,
        review_by=None,
        sha256=file.sha256,
        origin="slack",
    )

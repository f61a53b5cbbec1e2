"""What agents do about drafts of articles: publish as it stands, rewrite and publish, put aside.

Who may is asked by `actions` before; refusals are told there. The cards are drawn anew from the database afterwards.
"""

from __future__ import annotations

from bot.channels.slack.api import SlackApi
from bot.channels.slack.desk import SlackDesk
from bot.channels.slack.gap_board import GapAction, edit_gap
from bot.channels.slack.payloads import Click, Submission, target
from bot.errors import AlreadyDecided
from bot.services.knowledge.gap_desk import GapDesk, GapWords

__all__ = ["GapActions"]


class GapActions:
    """Does what was clicked or submitted."""

    def __init__(self, api: SlackApi, desk: SlackDesk, gaps: GapDesk) -> None:
        self._api = api
        self._desk = desk
        self._gaps = gaps

    def click(self, click: Click) -> bool:
        """Do what was clicked; False: it is none of these buttons.

        Raises
        ------
        AftercareError
            Somebody was faster, or it cannot be; nothing was changed.
        """
        if click.action not in (GapAction.PUBLISH, GapAction.EDIT, GapAction.DECLINE):
            return False
        draft_id, version = target(click.value)
        if click.action == GapAction.EDIT:
            view = self._gaps.view(draft_id)
            if view.version != version:
                raise AlreadyDecided("this draft was decided meanwhile; nothing was changed")
            self._api.open_modal(click.trigger_id, edit_gap(view), on_top=click.view_type == "modal")
            return True
        try:
            if click.action == GapAction.PUBLISH:
                self._gaps.publish(draft_id, version, click.person.actor)
            else:
                self._gaps.decline(draft_id, version, click.person.actor)
        finally:
            self._desk.sync()  # also where somebody was faster: that is what it says then
        return True

    def submit(self, submission: Submission) -> None:
        """Publish an agent's words; raises as `click` does."""
        said = submission.inputs
        words = GapWords(
            title=said.get("title/title", ""),
            body=said.get("body/body", ""),
            questions=said.get("questions/questions", "").splitlines(),
        )
        self._gaps.publish(*target(submission.reference), submission.person.actor, words)

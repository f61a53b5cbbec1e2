"""The composition of what answers customers: a part of `bot.wiring`.

Nothing else builds these parts, and nothing here decides anything.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from bot.lazy import OnFirstUse
from bot.wiring.ground import Ground

# These import scikit-learn and the encoder: seconds that most commands can do without.
if TYPE_CHECKING:
    from bot.services.conversation.conversations import Conversations
    from bot.services.knowledge.curation import Curation
    from bot.services.knowledge.desk import KnowledgeDesk
    from bot.services.knowledge.gap_desk import GapDesk
else:
    Conversations = OnFirstUse("bot.services.conversation.conversations", "Conversations")
    Curation = OnFirstUse("bot.services.knowledge.curation", "Curation")
    KnowledgeDesk = OnFirstUse("bot.services.knowledge.desk", "KnowledgeDesk")
    GapDesk = OnFirstUse("bot.services.knowledge.gap_desk", "GapDesk")

__all__ = ["KnowledgeParts"]


class KnowledgeParts(Ground):
    """Articles, and the dialogue that cites them."""

    @cached_property
    def knowledge(self) -> KnowledgeDesk:
        """The shop's articles, and what they answer."""
        return KnowledgeDesk(self.database, self.clock, self.settings, self.catalogue)

    @cached_property
    def conversations(self) -> Conversations:
        """The dialogue with customers."""
        return Conversations(self.database, self.clock, self.settings, self.knowledge, self.catalogue)

    @cached_property
    def curation(self) -> Curation:
        """Looks over articles and unanswered questions."""
        return Curation(self.database, self.clock, self.settings, self.knowledge)

    @cached_property
    def gap_desk(self) -> GapDesk:
        """Takes what agents say to drafts of articles."""
        return GapDesk(self.database, self.clock, self.settings, self.curation)

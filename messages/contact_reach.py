"""How far a wish to end contact reaches: one channel, or every message whatever the way.

Whether contact is to end at all is judged by `messages.contact_wish` and `messages.opting_out_words`. In doubt a wish is about
the channel that it came by: a bare "stop" or "unsubscribe" says no more.
"""

from __future__ import annotations

import re

from messages.opting_out_words import folded

__all__ = ["ends_every_channel"]

# Words about being written to at all, in folded text (`folded`): they name no mail, no list and no chat.
_EVERY = re.compile(
    r"\b(?:"
    r"no (?:more|further) (?:messages?|contact|communications?)|(?:stop|quit) (?:all )?contact(?:ing)?|stop all messages"
    r"|(?:do not|don't|never)(?: ever)? (?:contact|message|write to) me|leave me (?:alone|in peace)"
    r"|keine (?:weiteren )?nachrichten|(?:nicht|nie) (?:mehr|wieder) (?:kontaktieren|anschreiben)|kontaktier\w* (?:sie )?mich nicht"
    r"|lass\w* (?:sie )?mich in (?:ruhe|frieden)"
    r"|plus (?:de|aucun) messages?|ne me contacte[rz]? plus|laissez moi tranquille"
    r"|no (?:quiero )?mas mensajes|no me (?:contacten|escriban) mas|dejenme en paz"
    r"|(?:nao quero|sem) mais mensagens|nao me contatem|non contattatemi piu|lasciatemi in pace"
    r")\b"
)


def ends_every_channel(text: str) -> bool:
    """Say whether words that end contact are about every message; only asked of such words."""
    return _EVERY.search(folded(text)) is not None

"""How a message to a customer looks: the words, and under an answer of the bot what its reader may choose.

Sending is `channel`'s business, what a choice does `customers`'.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from bot.channels.slack.cards import Block, button, context
from bot.channels.slack.payloads import ActionId
from bot.channels.slack.text import cut, escape, pieces, to_mrkdwn
from messages.choices import Choice

__all__ = ["CHOICE_OF", "FALLBACK_LIMIT", "chosen_message", "customer_message", "fallback"]

# Notifications and screen readers show this much of a message.
FALLBACK_LIMIT = 3000
CHOICE_OF = {
    ActionId.ANSWER_HELPED: Choice.HELPED,
    ActionId.ANSWER_UNHELPFUL: Choice.UNHELPFUL,
    ActionId.ANSWER_HUMAN: Choice.HUMAN,
}
_ACTION_OF = {choice.value: action for action, choice in CHOICE_OF.items()}


def customer_message(
    text: str, hosts: Collection[str], choices: Mapping[str, str] | None = None, reference: str = ""
) -> list[Block]:
    """Return the blocks of a message; none where there are no words.

    Parameters
    ----------
    choices : mapping of str to str
        Labels by `Choice`; without any there are no buttons.
    reference : str
        The value of every button: the id of the answer.
    """
    blocks: list[Block] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": part, "verbatim": True}}
        for part in pieces(to_mrkdwn(text, hosts))
    ]
    if blocks and choices:
        buttons = [button(_ACTION_OF[name], label, reference) for name, label in choices.items() if name in _ACTION_OF]
        blocks.append({"type": "actions", "block_id": "choices", "elements": buttons})
    return blocks


def chosen_message(text: str, hosts: Collection[str], note: str, key: str) -> list[Block]:
    """Return the blocks of an answer that was chosen about: the same words, and what was chosen instead of the buttons."""
    blocks = [*customer_message(text, hosts), context(escape(note))]
    blocks[0] = {**blocks[0], "block_id": key}
    return blocks


def fallback(text: str) -> str:
    """Return what stands in notifications."""
    return cut(escape(text), FALLBACK_LIMIT)

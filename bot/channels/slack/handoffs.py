"""How a hand-over looks: the customer's last words, why a human is needed, and what an agent can do.

What comes later goes into the thread below; answering is done in a modal, never by merely writing in the thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.channels.slack.cards import NAME_LIMIT, Block, Rendered, button, context, local_time, section
from bot.channels.slack.identity import Roster
from bot.channels.slack.payloads import ActionId
from bot.channels.slack.text import SECTION_LIMIT, cut, escape, one_line, quoted
from bot.decide.patience import PRESSED, UPSET
from bot.services.conversation.conversations import HandoffReason
from bot.services.conversation.dialogue import Reason
from bot.store.enums import Author, HandoffState
from bot.store.examples import Choices
from bot.store.slack import HandoffFacts, Words

__all__ = ["EXCERPT", "handoff_card", "reminder", "standing_of", "thread_line"]

# How many of the latest messages a hand-over shows.
EXCERPT = 6
_REASONS = {
    Reason.SAFETY: "Safety: somebody may be in danger, please look at this now",
    Reason.ASKED: "The customer asks for a human",
    Reason.NO_ANSWER: "No article answers this surely enough",
    Reason.UNCLEAR: "Still unclear after asking back",
    Reason.SAME_ANSWER: "The answer just given did not help",
    Reason.ORDER_UNKNOWN: "Asks about an order that is not known to be theirs",
    Reason.ORDER_OVERDUE: "Their order is long past its promise",
    Reason.NOT_RECEIVED: "Their order is recorded as delivered, and they say that it is not there",
    Reason.NO_WORDS: "The message has no words, perhaps only attachments",
    Reason.IMPATIENT: "The customer is upset or in haste, and the bot has tried already",
    Reason.MORE: "Contact by the bot has ended as asked, but the customer said something else as well",
    HandoffReason.AGENT: "An agent wrote to the customer",
    HandoffReason.IN_DOUBT: "Nobody can tell whether our last message arrived: ask the customer, or write again",
    HandoffReason.NOT_DELIVERED: "Our last message did not reach the customer: write again, or by another way",
}
_WORDS: Mapping[str, str] = {reason.value: words for reason, words in _REASONS.items()} | {
    "written_from_another_address": "Written from another address than the one that we wrote to: it may be somebody else",
    "more_than_a_megabyte": "The mail is too large to be read as a whole; what came with it is in the mailbox",
    "too_many_automatic_answers_in_a_day": "The bot has answered this address many times today; perhaps it is a machine",
}


def handoff_card(
    facts: HandoffFacts, words: Sequence[Words], roster: Roster, choices: Choices | None = None
) -> Rendered:
    """Draw a hand-over as it stands now; `words` are the messages up to it, oldest first, `choices` the articles nearest to it."""
    who = _name(facts)
    title = cut(f"{'Urgent: ' if facts.urgent else ''}{who} needs a human", 150)
    reason = _WORDS.get(facts.reason, one_line(facts.reason).replace("_", " ").capitalize() or "Unknown reason")
    blocks: list[Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": title, "emoji": False}},
        section(cut(f"*{escape(reason)}*", SECTION_LIMIT)),
    ]
    blocks += [section(_said(one, who, roster)) for one in words[-EXCERPT:]]
    active = facts.state in (HandoffState.OPEN, HandoffState.TAKEN)
    way = {"slack": "a direct message in Slack", "email": "email"}.get(facts.channel, escape(facts.channel))
    if active:
        has_it = "has it" if facts.state is HandoffState.TAKEN else "is asked to take it"
        due = f", an answer is due {local_time(facts.due_at, roster)}" if facts.due_at else ""
        taken = f"{roster.named(facts.owner)} {has_it}{due}. " if facts.owner else ""
        blocks.append(
            context(
                f"{taken}Came by {way}. The bot is silent until this is given back. Answer with *Reply*; what you write in this thread stays here."
            )
        )
        blocks.append(
            {
                "type": "actions",
                "elements": [
                    button(ActionId.HANDOFF_REPLY, "Reply", str(facts.id), "primary"),
                    button(ActionId.HANDOFF_GIVE_BACK, "Give back", str(facts.id)),
                ],
            }
        )
        if choices is not None:
            blocks.append(_which_article(facts, choices))
    else:
        by = f" · {roster.named(facts.owner)} looked after it" if facts.owner else ""
        how = "Given back to the bot" if facts.state == HandoffState.GIVEN_BACK else "Closed"
        when = f", {local_time(facts.closed_at, roster)}" if facts.closed_at else ""
        blocks.append(section(f"✅ *{how}{when}*{by}"))
    last = words[-1].id if words else 0
    text = cut(f"{escape(title)}: {escape(reason)}", SECTION_LIMIT)
    return Rendered(text=text, blocks=blocks, shown=f"{standing_of(facts)}:{last}")


def standing_of(facts: HandoffFacts) -> str:
    """Return what tells a picture of a hand-over from one with another owner or time; without colons."""
    if facts.due_at is None or not facts.owner:
        return str(facts.state)
    return f"{facts.state}/{facts.owner.rpartition(':')[2]}/{facts.due_at:%m%dT%H%M}"


def reminder(facts: HandoffFacts, roster: Roster) -> Rendered:
    """Draw what is said in the thread when an answer will soon be due, or was due and the next one is asked."""
    who = roster.named(facts.owner) if facts.owner else "Whoever reads this"
    urgent = "❗ Urgent: " if facts.urgent else ""
    by = f" by {local_time(facts.due_at, roster)}" if facts.due_at else ""
    waits = f"{escape(_name(facts))} waits since {local_time(facts.opened_at, roster)}"
    if facts.state is HandoffState.TAKEN:
        said = f"⏰ {urgent}{who}, {waits}, and is owed an answer{by}."
    else:
        said = f"⏰ {urgent}{who}, it is your turn: {waits}. Please take it{by}, with *Reply* above; then the next one is asked."
    return Rendered(
        text=cut(said, SECTION_LIMIT), blocks=[section(cut(said, SECTION_LIMIT))], shown=str(facts.reminders)
    )


def thread_line(facts: HandoffFacts, words: Words, roster: Roster) -> str:
    """Return what one later message looks like in the thread."""
    return _said(words, _name(facts), roster)


def _said(words: Words, who: str, roster: Roster) -> str:
    speakers = {Author.CUSTOMER: f"👤 *{escape(who)}*", Author.BOT: "🤖 *Aftercare*"}
    # By name, not as a mention: nobody needs to be called for their own words.
    by = escape(roster.plainly(words.author_id)) if words.author_id else "an agent"
    speaker = speakers.get(words.author, f"🎧 *{by}* to the customer")
    parts = quoted(escape(words.text), SECTION_LIMIT - 300, most=1) or ["> _(no text)_"]
    return f"{speaker}{_mood(words)}\n{parts[0]}"


def _which_article(facts: HandoffFacts, choices: Choices) -> Block:
    """Ask which article would have answered; the answer is a label."""
    named = [(cut(one_line(title), 75) or "(no title)", key) for key, title in choices.articles]
    options = [
        {"text": {"type": "plain_text", "text": label}, "value": f"{facts.id}:{choices.utterance_id}:{key}"}
        for label, key in [*named, ("None of these", 0)]
    ]
    select = {
        "type": "static_select",
        "action_id": ActionId.HANDOFF_ARTICLE.value,
        "placeholder": {"type": "plain_text", "text": "Which article would have answered?"},
        "options": options,
    }
    return {"type": "actions", "elements": [select]}


def _mood(words: Words) -> str:
    """Say how a message sounds, where that stands out."""
    said = []
    if words.sentiment is not None and words.sentiment <= UPSET:
        said.append("upset")
    if words.urgency is not None and words.urgency >= PRESSED:
        said.append("in haste")
    return f" · _sounds {' and '.join(said)}_" if said else ""


def _name(facts: HandoffFacts) -> str:
    words = one_line(facts.customer_name or "").split()
    return cut(words[0], NAME_LIMIT) if words else "A customer"

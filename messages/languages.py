"""Which language a text is in, by its commonest words: enough to tell what is understood from what is not, and to answer in it.

What is answered is `messages.answers`' business.
"""

from __future__ import annotations

import re

__all__ = ["language_of", "spoken"]

_EXAMINED = 2_000
# The commonest words of each language that are rare in the others.
_WORDS = {
    "en": "the is and you my not it was with this have for but that are of to in on would when what how they your an been if"
    " from at i we do does can please thanks hello",
    "de": "ich sie wir der die das ist und nicht mein meine mit wie wann wo kann habe noch bitte ein eine den dem für auf"
    " zu von es sich auch aber hab mir mich oder wenn schon nach war",
    "fr": "je le la les une est et pas mon ma mes avec vous que qui dans pour sur bonjour merci mais nous ne plus"
    " ce cette des du au ai avez c'est j'ai si votre",
    "es": "el los las una es y no mi con que en por para pero hola gracias muy me se lo del al como cuando qué está"
    " tengo he un ustedes su ya",
    "it": "il gli è e non mio mia con che per sono ho ciao grazie ma della del di un una come quando questo ordine vostro",
    "nl": "ik het een en niet mijn met dat voor maar hoi bedankt van zijn is wat hoe wanneer jullie heb de er nog ook",
    "pt": "o os as uma é e não meu minha com que em por para mas olá obrigado obrigada muito do da no na foi produto",
}
_SETS = {language: frozenset(listed.split()) for language, listed in _WORDS.items()}
# So much of a text must be commonest words before its language is known; a product's name alone is in none.
_LEAST = 0.15


def spoken(text: str) -> str | None:
    """Return the language of a text (`en`, `de`, `fr`, `es`, `it`, `nl`, `pt`), None where its words do not show it."""
    tokens = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text[:_EXAMINED].casefold().replace("’", "'"))
    if not tokens:
        return None
    counts = {language: sum(token in known for token in tokens) for language, known in _SETS.items()}
    best, second = sorted(counts.values(), reverse=True)[:2]
    if best == second or best < max(1, _LEAST * len(tokens)):
        return None
    return max(counts, key=lambda language: counts[language])


def _common(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_GERMAN = _common(
    "ich sie wir der die das ist und nicht mein meine mit wie wann wo was kann habe noch bitte ein eine den dem für auf"
    " bestellung paket danke hallo zu von keine mehr mensch rechnung"
)
_ENGLISH = _common(
    "i you we the is and not my with how when where what can have still please a an for on to of no more order parcel"
    " thanks hello it do does did was are that this"
)


def language_of(text: str, locale: str | None = None) -> str:
    """Guess English or German from the commonest words; the customer's own locale decides where the words do not."""
    tokens = re.findall(r"\w+", text.casefold()[:2_000])
    german = sum(token in _GERMAN for token in tokens) + sum(c in "äöüß" for c in text[:2_000])
    english = sum(token in _ENGLISH for token in tokens)
    if german == english:
        return locale or "en"
    return "de" if german > english else "en"

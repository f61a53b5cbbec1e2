"""How people and programs begin and end a mail: greetings, closing greetings, names, footers of apps.

Each function judges one line. Which lines are dropped for it, and when that is safe, is decided in `messages.replies`.
"""

from __future__ import annotations

import re

from messages.phrases import fold, phrases, visible

__all__ = ["closing", "footer", "is_disclaimer", "is_greeting", "is_name", "is_signature_line"]

_LINK = re.compile(r"\(?<?https?://[^\s<>()]{1,300}>?\)?")
_AROUND = " .,*_|-–—()<>"
_MARKS = ",;.!:-–— \t*"


def footer(folded: str) -> str | None:
    """Return the language of a line such as `Sent from my iPhone`; '' where it has none or several, None otherwise."""
    known = phrases()
    if folded.startswith("<http") and folded.endswith(">") and " " not in folded:
        return ""  # where a logo was
    text = (_LINK.sub(" ", folded) if "http" in folded else folded).strip(_AROUND)
    if not text.startswith(known.footer_beginnings) and not text.endswith(known.footer_ends):
        return None
    text = text.replace("[", "").replace("]", "").strip(_AROUND)
    if not 8 <= len(text) <= 100 or known.devices.search(text) is None:
        return None
    languages = {
        language
        for language, beginning, end in known.footers
        if text.startswith(beginning)
        and text.endswith(end)
        and (end or "," in beginning or (text.count(" ") < 9 and ("," not in text or "excuse" in text)))
    }
    return None if not languages else languages.pop() if len(languages) == 1 else ""


def is_disclaimer(folded: str) -> bool:
    """Return whether a paragraph begins as those that a company's mail server or a virus scanner adds."""
    known = phrases()
    return folded.startswith(known.disclaimers) and any(word in folded for word in known.disclaiming)


def closing(line: str, folded: str) -> tuple[tuple[str, ...], bool, bool] | None:
    """Recognise `Kind regards,` or `Kind regards, Anna`.

    Returns
    -------
    tuple or None
        Languages, whether it may be words of their own where no name follows, whether the name is there already.
    """
    known = phrases()
    text = folded.strip(_MARKS)
    words = text.split(" ")
    if len(text) > 80 or len(words) > 9:
        return None
    if (languages := _closing_languages(text, words)) is not None:
        return languages, text in known.thanks or text not in known.closings, False
    if words[0].strip(_MARKS) not in known.closing_words:
        return None
    for count in range(min(5, len(words) - 1), 0, -1):
        phrase = " ".join(words[:count]).strip(_MARKS)
        if phrase in known.closings and phrase not in known.thanks:
            rest = " ".join(visible(line).split(" ")[count:])
            return (known.closings[phrase], False, True) if is_name(rest) else None
    return None


def _closing_languages(text: str, words: list[str]) -> tuple[str, ...] | None:
    """Return the languages of a known closing greeting, of two with an `and` between, of one with a known last word."""
    known = phrases()
    if text in known.closings:
        return known.closings[text]
    if len(words) <= 5 and (languages := known.closing_ends.get(words[-1])) is not None:
        return languages
    for turn, word in enumerate(words[1:-1], 1):
        if word in known.ands and " ".join(words[:turn]) in known.closings:
            return known.closings.get(" ".join(words[turn + 1 :]))
    return None


def is_name(line: str) -> bool:
    """Return whether a line below a closing greeting looks like a name and nothing else."""
    seen = visible(line)
    text = seen.strip(_MARKS)
    words = text.split(" ")
    if not text or len(seen) > 50 or len(words) > 5 or any(c.isdigit() or c in "?!:" for c in seen):
        return False
    if not phrases().not_names.isdisjoint(fold(word).strip(_MARKS) for word in words):
        return False
    return all(_as_in_names(word) for word in words) and any(c.isalpha() for c in text)


def is_signature_line(line: str) -> bool:
    """Return whether a line below a name looks like a post, a company, an address or a number."""
    text = visible(line)
    known = phrases()
    words = text.split(" ")
    first = fold(words[0])
    if len(text) > 100 or len(words) > 12 or text.endswith(("?", "!")) or first.rstrip(":") in known.postscripts:
        return False
    if not known.not_names.isdisjoint(fold(word).strip(_MARKS) for word in words):
        return False
    if len(words) <= 4 and any(mark in text for mark in ("@", "www.", "://")):
        return True
    return all(_as_in_names(word) or not word[0].isalpha() for word in words)


def is_greeting(line: str, folded: str) -> bool:
    """Return whether a line only greets: `Hello,`, `Dear Anna Example,`; `Hello, please cancel` says more."""
    known = phrases()
    bare = folded.strip(" ,.!:;-–。、！")
    if bare in known.greetings:
        return True
    if bare.split(" ", 1)[0].strip(",") not in known.greeting_words:
        return False
    text = visible(line)
    words = text.split(" ")
    if len(words) > 7 or (len(words) > 3 and not text.endswith((",", "!", ":", "，", "、"))):
        return False
    for count in range(min(3, len(words) - 1), 0, -1):
        if fold(" ".join(words[:count])).strip(",") in known.greetings:
            rest = [word.strip(",.!:、，") for word in words[count:]]
            return all(
                (fold(word) in known.greeted or _as_in_names(word)) and fold(word) not in known.not_names
                for word in rest
                if word
            )
    return False


def _as_in_names(word: str) -> bool:
    bare = word.strip(_MARKS + "()\"'/|·&")
    if not bare or bare.lower() in phrases().particles:
        return True
    if not bare[0].isalpha():
        return False
    return not bare[0].islower() or (len(bare) <= 3 and word.endswith("."))

"""What can go wrong with the words; the bot wraps these where it calls in."""

from __future__ import annotations

from collections.abc import Sequence


class MessagesError(Exception):
    """Something about a template, an article or an encoder is not as it should be."""


class TemplateError(MessagesError):
    """A template is missing, unsafe, or lacks a value; the message names the file and what to change."""


class ArticleError(MessagesError):
    """Articles are not as they should be.

    Parameters
    ----------
    problems : sequence of str
        One `FILE:LINE: what to change` each, so that one run shows everything.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class EncoderError(MessagesError):
    """The text encoder's files are missing, altered or unfit."""


class IntentError(MessagesError, ValueError):
    """An intent classifier was given no text, or labels that it cannot learn from."""

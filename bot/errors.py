"""The tree of errors that Aftercare raises on purpose; each docstring is the default message.

The exit status of the command line hangs on the class (see `docs/reference/commands.md`). What is not
in this tree is a bug and ends the command with status 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


class AftercareError(Exception):
    """Something that Aftercare was asked to do could not be done."""

    exit_status = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip().splitlines()[0])


class UsageError(AftercareError):
    """The command or its arguments do not fit together."""

    exit_status = 2


class ConfigurationError(AftercareError):
    """The configuration is not usable; every problem is listed with its path.

    Parameters
    ----------
    problems : sequence of (path, what to do)
        All that is wrong, so that one run of `config check` shows everything.
    """

    exit_status = 2

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{path}: {advice}" for path, advice in self.problems))


class InputError(AftercareError):
    """A file, event or message is not as it should be; the message names place and reason."""

    exit_status = 2


class Refused(AftercareError):
    """The request was understood and refused: policy, a decision already taken, a gate or a lock."""

    exit_status = 4


class AlreadyDecided(Refused):
    """Somebody else decided first; nothing was changed."""


class IllegalTransition(Refused):
    """The outreach cannot go from its present state to the one asked for."""


class GateRefused(Refused):
    """The new model did not pass the promotion gate; the old one stays."""


class NotFound(AftercareError):
    """There is nothing with that id."""

    exit_status = 2


class StoreError(AftercareError):
    """The database could not be used; the message says what to do next."""


class ModelError(Refused):
    """A model file is missing, altered or unfit for this data, and is not used."""


class ChannelError(AftercareError):
    """A channel did not take a message."""


class PermanentChannelError(ChannelError):
    """The channel refused for good (dead address, refused content): do not try again."""


class TransientChannelError(ChannelError):
    """The channel did not take the message now, and certainly did not deliver it: try again later.

    Parameters
    ----------
    retry_after : float, optional
        Seconds the channel asked us to wait.
    """

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UncertainChannelError(ChannelError):
    """The channel may or may not have taken the message; a human or evidence must say."""


class NaiveTimeError(InputError, ValueError):
    """A time without a zone reached a place that takes instants only."""

    def __init__(self, value: datetime) -> None:
        super().__init__(f"{value.isoformat()} has no time zone; pass an aware datetime in UTC")

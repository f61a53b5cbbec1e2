"""What the contact policy's rules say to people, in plain words, kept and broken.

The rules themselves are `bot.decide.policy`'s business.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bot.decide import policy
from bot.decide.policy import Checked, Facts, Reason

__all__ = ["REFUSED", "rules_in_words"]

# Why somebody is not contacted.
REFUSED = {
    Reason.STOPPED: "all sending is stopped",
    Reason.SUPPRESSED: "their address must never be contacted again",
    Reason.CONSENT_REFUSED: "they said no to this on this channel",
    Reason.CONSENT_MISSING: "they have not agreed to this on this channel",
    Reason.NO_ADDRESS: "no address of theirs is known on this channel",
    Reason.OPEN_ISSUE: "a ticket, complaint or return of theirs is open",
    Reason.WITH_A_HUMAN: "an agent is talking to them",
    Reason.HOLDOUT: "they were drawn into the group that is not contacted",
    Reason.ALREADY_PROPOSED: "another check-in to them waits or is on its way",
    Reason.COOL_DOWN: "the same playbook reached them lately",
    Reason.CAP_DAY: "they were contacted enough within a day",
    Reason.CAP_WEEK: "they were contacted enough within a week",
    Reason.CAP_MONTH: "they were contacted enough within a month",
    Reason.DISTANCE: "the last contact was too short a time ago",
    Reason.BUDGET: "the channel has sent what it may send a day",
    Reason.DAY_OFF: "it is a day off where they live",
    Reason.QUIET_HOURS: "it is night where they live",
    Reason.MISSING_FACT: "the message needed something that was not known",
    Reason.CAPACITY: "the agents' day was full",
}
_PASSED = {
    Reason.STOPPED: "sending is not stopped",
    Reason.SUPPRESSED: "their address may be contacted",
    Reason.CONSENT_REFUSED: "they did not say no to this on this channel",
    Reason.CONSENT_MISSING: "a yes of theirs is not needed, or there",
    Reason.NO_ADDRESS: "an address of theirs is known",
    Reason.OPEN_ISSUE: "no issue of theirs is open",
    Reason.WITH_A_HUMAN: "no agent is talking to them",
    Reason.HOLDOUT: "they are in the group that is contacted",
    Reason.ALREADY_PROPOSED: "no other check-in to them waits",
    Reason.COOL_DOWN: "this playbook left them alone long enough",
    Reason.CAP_DAY: "the day's cap has room",
    Reason.CAP_WEEK: "the week's cap has room",
    Reason.CAP_MONTH: "the month's cap has room",
    Reason.DISTANCE: "the last contact was long enough ago",
    Reason.BUDGET: "the channel may send more today",
    Reason.DAY_OFF: "it is no day off where they live",
    Reason.QUIET_HOURS: "it is day where they live",
}


def rules_in_words(facts: Facts) -> list[dict[str, Any]]:
    """Return what every rule says about one contact, in the order in which they are asked."""
    return [_in_words(facts, one) for one in policy.check(facts)]


def _in_words(facts: Facts, checked: Checked) -> dict[str, Any]:
    words = _PASSED[checked.rule] if checked.passed else REFUSED[checked.rule]
    if checked.until is not None:
        words = f"{words}, until {_local(checked.until, facts)}"
    return {"rule": checked.rule.value, "passed": checked.passed, "until": checked.until, "words": words}


def _local(instant: datetime, facts: Facts) -> str:
    return f"{instant.astimezone(facts.zone):%Y-%m-%d %H:%M} of their time"

"""SPF: who may send for a domain (RFC 7208), as far as one can judge without being the receiver."""

from __future__ import annotations

from collections.abc import Iterator

from bot.channels.email.records import Finding, Standing, Txt, unchecked
from bot.channels.email.resolving import Names, Unanswered

__all__ = ["look_at_spf"]

# RFC 7208 section 4.6.4: more questions than this, and the record counts as broken.
MOST_LOOKUPS = 10
# What relays ask their customers to publish, by the end of the host in SMTP_URL (their own set-up pages).
INCLUDES = {
    "gmail.com": "_spf.google.com",
    "google.com": "_spf.google.com",
    "office365.com": "spf.protection.outlook.com",
    "outlook.com": "spf.protection.outlook.com",
    "fastmail.com": "spf.messagingengine.com",
}
_ASKING = ("include:", "a:", "mx:", "a/", "mx/", "ptr", "exists:", "redirect=")


def look_at_spf(names: Names, domain: str, relay: str) -> Finding:
    """Read the SPF record of a domain.

    Parameters
    ----------
    relay : str
        The host in SMTP_URL; empty where there is none.
    """
    advised = _advised(domain, relay)

    def finding(standing: Standing, detail: str, publish: Txt | None = None) -> Finding:
        return Finding(name="SPF", standing=standing, detail=detail, publish=publish)

    try:
        found = _records(names, domain)
    except Unanswered as error:
        return finding(Standing.UNKNOWN, unchecked(error, "TXT", domain, "v=spf1"), advised)
    if not found:
        return finding(
            Standing.WEAK,
            f"{domain} does not say who may send for it; your relay's own advice goes before this",
            advised,
        )
    if len(found) > 1:
        both = " ".join(dict.fromkeys(term for text in found for term in _terms(text) if not _is_all(term)))
        return finding(
            Standing.BROKEN,
            f"{domain} has {len(found)} SPF records, which counts as none; publish one in place of them",
            Txt(name=domain, value=f"v=spf1 {both} ~all"),
        )
    terms = _terms(found[0])
    reached, asked, whole = _reach(names, domain, found[0])
    if asked > MOST_LOOKUPS:
        return finding(
            Standing.BROKEN,
            f"receivers need at least {asked} questions to DNS for it, and give up after {MOST_LOOKUPS}; name fewer senders",
        )
    closing = next((term for term in terms if _is_all(term)), None)
    if closing in ("all", "+all"):
        return finding(Standing.WEAK, "it lets everybody send (+all); end it with ~all", _ending(domain, terms))
    if closing in (None, "?all") and not any(term.startswith("redirect=") for term in terms):
        return finding(Standing.WEAK, "it does not say what becomes of other senders; end it", _ending(domain, terms))
    needed = _include(relay)
    if needed and whole and needed not in reached:
        return finding(
            Standing.WEAK,
            f"it does not name {relay}",
            Txt(name=domain, value=f"v=spf1 include:{needed} {' '.join(terms)}"),
        )
    return finding(
        Standing.FINE, f"one record, about {asked} of {MOST_LOOKUPS} questions to DNS; it must name your relay"
    )


def _advised(domain: str, relay: str) -> Txt:
    if needed := _include(relay):
        senders = f"include:{needed}"
    elif relay and relay not in ("localhost", "127.0.0.1", "::1"):
        senders = f"a:{relay}"
    else:
        senders = "mx"  # this machine sends by itself: mostly the one that also takes the mail
    return Txt(name=domain, value=f"v=spf1 {senders} ~all")


def _include(relay: str) -> str | None:
    return next((name for end, name in INCLUDES.items() if f".{relay}".endswith(f".{end}")), None)


def _records(names: Names, domain: str) -> list[str]:
    return [text for text in names.texts(domain) if text.lower().split(" ", 1)[0] == "v=spf1"]


def _terms(text: str) -> list[str]:
    return [term.lower() for term in text.split()[1:]]


def _is_all(term: str) -> bool:
    return term.lstrip("+-~?") == "all"


def _ending(domain: str, terms: list[str]) -> Txt:
    return Txt(name=domain, value=" ".join(["v=spf1", *(term for term in terms if not _is_all(term)), "~all"]))


def _reach(names: Names, domain: str, text: str) -> tuple[set[str], int, bool]:
    """Follow what a record includes.

    Returns
    -------
    names reached, questions to DNS (at least), and whether everything could be followed
    """
    reached, asked, whole, waiting = {domain}, 0, True, [text]
    while waiting and asked <= MOST_LOOKUPS:
        for term in _terms(waiting.pop(0)):
            bare = term.lstrip("+-~?")
            if not (bare in ("a", "mx") or bare.startswith(_ASKING)):
                continue
            asked += 1
            for name in _followed(bare):
                if name in reached or asked > MOST_LOOKUPS:
                    continue
                reached.add(name)
                try:
                    waiting += _records(names, name)[:1]
                except Unanswered:
                    whole = False
    return reached, asked, whole


def _followed(term: str) -> Iterator[str]:
    """Name the record that a term leads to; one with a macro depends on the mail and is not followed."""
    for start in ("include:", "redirect="):
        if term.startswith(start) and "%" not in term:
            yield term.removeprefix(start)

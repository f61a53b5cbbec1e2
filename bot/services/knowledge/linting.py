"""What is to be mended in articles; each finding says what to do next.

Only looked at, never changed, and nothing is fetched. What is wrong with single links is
`bot.services.knowledge.links`' business, reading files `messages.reading`'s.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations

from bot.services.knowledge.links import judge_links
from bot.services.knowledge.quoting import harmless
from bot.store.knowledge import StoredArticle
from messages.knowledge import KnowledgeIndex, words

__all__ = ["BROKEN", "Finding", "Shelf", "lint"]

BROKEN = "broken_file"
LONG_BODY = 6_000
# Runs of so many words are compared, as Broder does (On the resemblance and containment of documents, 1997, section 2).
SHINGLE_WORDS = 3
NEAR_DUPLICATE = 0.6
# A run that so many articles share is the shop's usual wording and makes none a double of another.
USUAL_WORDING = 20
# A difference of scores below this is one that another wording of the question may turn round.
CLOSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to mend in an article, or in a file that holds none."""

    article_id: str
    kind: str
    advice: str

    @property
    def refused(self) -> bool:
        """Whether it is a file that an import refuses."""
        return self.kind == BROKEN

    def harmless(self) -> Finding:
        """Return it without characters that steer a terminal."""
        plain = " ".join(harmless(self.advice).split())
        return replace(self, article_id=harmless(self.article_id), advice=plain)


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """The articles in use, and what is known about them.

    Attributes
    ----------
    told : frozenset of str
        The ids of those that customers may be told today.
    files : mapping of str to str
        The ids of the configured folder's articles by their files.
    samples : frozenset of str
        The digests of the articles that came with Aftercare.
    unused : frozenset of str
        The ids of those that nothing cited for `unused_days`.
    today : date
        In the shop's time zone.
    """

    articles: tuple[StoredArticle, ...]
    told: frozenset[str]
    files: Mapping[str, str]
    samples: frozenset[str]
    unused: frozenset[str]
    unused_days: int
    today: date


def lint(shelf: Shelf, index: KnowledgeIndex, answer_threshold: float) -> list[Finding]:
    """Return what is to be mended, by article and kind.

    Parameters
    ----------
    index : KnowledgeIndex
        Over the articles that customers may be told: what it finds for their own questions is looked at.
    answer_threshold : float
        From which score an article is said, 0 to 1.
    """
    doubles = list(_doubles(shelf.articles))
    known = {frozenset((one.article_id, other)) for one, other in doubles}
    found = [
        *(finding for article in shelf.articles for finding in _single(article, shelf)),
        *(finding for finding, _ in doubles),
        *_near_duplicates(shelf.articles),
        *_competing(shelf, index, answer_threshold, known),
    ]
    return sorted((finding.harmless() for finding in found), key=lambda one: (one.article_id, one.kind, one.advice))


def _single(article: StoredArticle, shelf: Shelf) -> Iterator[Finding]:
    files = {identifier: file for file, identifier in shelf.files.items()}
    found: list[tuple[str, str]] = []
    if article.sha256 in shelf.samples:
        found.append(("sample", "is a sample that came with Aftercare; set knowledge.dir to your own articles"))
    if not article.review_by:
        found.append(("no_review_date", "has no review date; write `review_by:`"))
    elif date.fromisoformat(article.review_by) < shelf.today:
        found.append(
            ("stale", f"should have been reviewed by {article.review_by}; read it, then write a later `review_by:`")
        )
    if not article.owner:
        found.append(("no_owner", "has no owner; write `owner:`"))
    if not article.questions:
        found.append(("no_questions", "has no sample questions; two or three in customers' words find it better"))
    if len(article.body) > LONG_BODY:
        found.append(("long", f"has {len(article.body)} characters; split it, an answer quotes one section"))
    if article.external_id in shelf.unused:
        unused = f"was cited by no answer and no check-in for {shelf.unused_days} days"
        found.append(("unused", f"{unused}; add customers' own wordings from `aftercare kb gaps`, or retire it"))
    found += judge_links(article.body, file=files.get(article.external_id), told=shelf.told, files=shelf.files)
    for kind, advice in found:
        yield Finding(article_id=article.external_id, kind=kind, advice=advice)


def _doubles(articles: tuple[StoredArticle, ...]) -> Iterator[tuple[Finding, str]]:
    """Find articles in one language whose title or question another article owns word for word; with the other."""
    owner: dict[tuple[str, str], str] = {}
    for article in articles:
        for heading in dict.fromkeys([article.title, *article.questions]):
            other = owner.setdefault((article.locale, " ".join(words(heading))), article.external_id)
            if other != article.external_id and not article.products:
                advice = f"asks {heading!r}, which is already a question of {other}; leave it to one of them"
                yield Finding(article_id=article.external_id, kind="double_question", advice=advice), other


def _near_duplicates(articles: tuple[StoredArticle, ...]) -> Iterator[Finding]:
    """Find pairs in one language that are nearly the same text, by the share of common runs of words."""
    runs = [_runs(article.body) for article in articles]
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for row, found in enumerate(runs):
        for run in found:
            holders[run].append(row)
    common = Counter(pair for rows in holders.values() if len(rows) <= USUAL_WORDING for pair in combinations(rows, 2))
    for (row, other), shared in sorted(common.items()):
        one, two = articles[row], articles[other]
        likeness = shared / (len(runs[row]) + len(runs[other]) - shared)
        apart = one.products and two.products and not set(one.products) & set(two.products)
        if likeness >= NEAR_DUPLICATE and _language(one) == _language(two) and not apart:
            yield Finding(
                article_id=two.external_id,
                kind="near_duplicate",
                advice=f"is {likeness:.0%} the same text as {one.external_id}; put them together and retire one",
            )


def _runs(body: str) -> set[tuple[str, ...]]:
    said = words(body)
    return {tuple(said[at : at + SHINGLE_WORDS]) for at in range(max(1, len(said) - SHINGLE_WORDS + 1))}


def _competing(
    shelf: Shelf, index: KnowledgeIndex, answer_threshold: float, known: set[frozenset[str]]
) -> Iterator[Finding]:
    """Find articles whose own questions another article answers as well, or better; the closest question of a pair."""
    closest: dict[tuple[str, str], tuple[float, str]] = {}
    for article in shelf.articles:
        headings = list(dict.fromkeys([article.title, *article.questions]))
        if article.external_id not in shelf.told:
            continue
        hits = index.search_many(headings, 2, locale=article.locale, products=article.products)
        for heading, best in zip(headings, hits, strict=True):
            own = next((hit.score for hit in best if hit.article_id == article.external_id), 0.0)
            other = next((hit for hit in best if hit.article_id != article.external_id), None)
            if other is None or other.score < max(answer_threshold, own - CLOSE):
                continue
            pair = (article.external_id, other.article_id)
            if frozenset(pair) not in known:
                closest[pair] = min(closest.get(pair, (2.0, "")), (round(own - other.score, 4), heading))
    for (identifier, other_id), (distance, heading) in sorted(closest.items()):
        found = f"before it, {other_id} is found" if distance < 0 else f"{other_id} is found nearly as near"
        yield Finding(
            article_id=identifier,
            kind="competing",
            advice=f"for its own question {heading!r} {found}; say in both titles what sets them apart, or put them together",
        )


def _language(article: StoredArticle) -> str:
    return re.split(r"[-_]", article.locale.lower())[0]

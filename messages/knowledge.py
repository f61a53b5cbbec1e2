"""Finding the article that answers a question.

Encoder first: an article is as near as the mean of its nearest heading (title, sample questions) and its
nearest section, or as its heading where it has no body. BM25 stands beside it for what an encoder blurs, exact codes and names, and answers alone where
there is no encoder. Whether a hit is good enough to be said to a customer is `messages.answers`' business.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
from numpy.typing import NDArray

from messages.encoder import TextEncoder, Vectors, load_encoder
from messages.errors import ArticleError

__all__ = ["Article", "Hit", "KnowledgeIndex", "sections"]

SECTION_CHARACTERS = 600
MAX_SECTIONS = 60
# Added to the encoder's score. Measured on StackFAQ (recall@1): heading alone .967, section alone .974, their mean
# .983, with .02 BM25 .985, with .2 BM25 .976: lexical overlap may break ties, not decide.
TIE_WEIGHT = 0.02
# An article without a body is its heading alone, and words say more about it. Chosen on the sample questions of HINT3's shops alone
# (half of them left out): .801 to .848 right with .02, .840 to .864 with .1, no more right with more.
BODYLESS_TIE_WEIGHT = 0.1
# An article that holds a rare code of the question (E04, KX-200) goes before one that does not.
CODE_BONUS = 0.15
_CODE = re.compile(r"^(?=.*\d)(?=.*[^\W\d_])[\w-]{2,20}$|^\d{3,}$")
_WORD = re.compile(r"\w+(?:-\w+)*")
# Half-saturation of the BM25-only score: BM25 per matched content word is 2-5 on collections of tens to thousands.
BM25_HALF = 6.0


@dataclass(frozen=True)
class Article:
    """One version of a knowledge-base entry, as the search needs it."""

    id: str
    title: str
    body: str
    questions: Sequence[str] = ()
    tags: Sequence[str] = ()
    locale: str = "en"
    version: int = 1
    products: Sequence[str] = ()


@dataclass(frozen=True)
class Hit:
    """One article found.

    Attributes
    ----------
    score : float
        0 to 1. With an encoder: a cosine (1 = the question is the article's own); .6 and more is usually the same
        question in other words. BM25 alone: b / (b + 6), b the BM25 score.
    passage : str
        The section of the article that comes nearest to the question, word for word.
    heading, section : float
        The cosines of the nearest heading and of the nearest section; both 0 where BM25 answered alone.
    """

    article_id: str
    score: float
    passage: str = ""
    heading: float = 0.0
    section: float = 0.0


class KnowledgeIndex:
    """A searchable, immutable set of articles; made by `KnowledgeIndex.build`."""

    def __init__(self, articles: Sequence[Article], encoder: TextEncoder | None, known: dict[str, Vectors]) -> None:
        self._articles = tuple(articles)
        self._by_id = {article.id: article for article in articles}
        self._rows = {article.id: row for row, article in enumerate(articles)}
        self._encoder = encoder
        self._sections = [sections(article.body) or [article.title] for article in articles]
        self._bodyless = np.array([not article.body.strip() for article in articles], dtype=bool)
        self._vectors: dict[str, Vectors] = {}
        if encoder is not None and articles:
            self._embed(encoder, known)
        self._in_language: dict[str, NDArray[np.bool_]] = {}
        for row, article in enumerate(articles):
            spoken = self._in_language.setdefault(_language(article.locale), np.zeros(len(articles), dtype=bool))
            spoken[row] = True
        self._about_products = [
            (row, {product.casefold() for product in article.products})
            for row, article in enumerate(articles)
            if article.products
        ]
        self._words = [words(_all_text(article)) for article in articles]
        self._holders: dict[str, set[int]] = defaultdict(set)
        for row, tokens in enumerate(self._words):
            for token in tokens:
                if _CODE.match(token):
                    self._holders[token].add(row)
        self._bm25: bm25s.BM25 | None = None
        if any(self._words):
            self._bm25 = bm25s.BM25()
            self._bm25.index([tokens or [""] for tokens in self._words], show_progress=False)

    @classmethod
    def build(
        cls,
        articles: Sequence[Article],
        encoder: TextEncoder | None = None,
        *,
        lexical_only: bool = False,
        previous: KnowledgeIndex | None = None,
    ) -> KnowledgeIndex:
        """Index articles.

        Parameters
        ----------
        articles : sequence of Article
            Ids must be unique.
        encoder : TextEncoder, optional
            None takes the installed default; where there is none, BM25 answers alone (`answered_by` says so).
        lexical_only : bool
            Use no encoder even where one is installed.
        previous : KnowledgeIndex, optional
            An older index: texts that it knows are not embedded again.

        Raises
        ------
        ArticleError
            Two articles have the same id.
        """
        seen: set[str] = set()
        if double := sorted({a.id for a in articles if a.id in seen or seen.add(a.id)}):  # type: ignore[func-returns-value]
            raise ArticleError([f"the article id {name} is there twice; ids are unique" for name in double])
        chosen = None if lexical_only else (encoder or load_encoder())
        known = previous._vectors if previous is not None and previous._encoder is chosen else {}
        return cls(articles, chosen, known)

    @property
    def answered_by(self) -> str:
        """What ranks the articles: the encoder's name with BM25, or BM25 alone."""
        return f"{self._encoder.name} with BM25" if self._encoder is not None else "BM25 alone (no encoder)"

    @property
    def encoder(self) -> TextEncoder | None:
        """The encoder in use, if any."""
        return self._encoder

    @property
    def articles(self) -> tuple[Article, ...]:
        """What is indexed."""
        return self._articles

    @property
    def vectors(self) -> Mapping[str, Vectors]:
        """The vector of every heading and section that was embedded, by its text."""
        return self._vectors

    def article(self, article_id: str) -> Article:
        """Return an article that is indexed; KeyError for any other id."""
        return self._by_id[article_id]

    def search(self, query: str, k: int = 5, *, locale: str | None = None, products: Collection[str] = ()) -> list[Hit]:
        """Return the `k` nearest articles, best first; see `search_many`."""
        return self.search_many([query], k, locale=locale, products=products)[0]

    def search_many(
        self,
        queries: Sequence[str],
        k: int = 5,
        *,
        locale: str | None = None,
        products: Collection[str] = (),
        without: Sequence[str] = (),
    ) -> list[list[Hit]]:
        """Return the `k` nearest articles of every query, best first.

        Parameters
        ----------
        locale : str, optional
            Search only articles in this language, where there are any.
        products : collection of str
            The customer's products: articles about other products only are left out.
        without : sequence of str
            One article for each query that is left out for it, as if it had never been written; empty: none.
        """
        allowed = self._allowed(locale, products)
        if not queries or k <= 0 or not allowed.any():
            return [[] for _ in queries]
        lexical = np.stack([self._bm25_scores(query) for query in queries])
        absent = [self._rows[left_out] for left_out in without]
        lexical[range(len(absent)), absent] = 0.0
        heading = section = np.zeros(lexical.shape, dtype=np.float32)
        if self._encoder is None:
            scores, by_section = lexical / (lexical + BM25_HALF), None
        else:
            scores, heading, section, by_section = self._encoder_scores(self._encoder, queries, lexical)
        scores = np.where(allowed, scores, -1.0)
        scores[range(len(absent)), absent] = -1.0
        found: list[list[Hit]] = []
        for row, query in enumerate(queries):
            if not query.strip():
                found.append([])
                continue
            best = _largest(scores[row], k)
            found.append(
                [
                    Hit(
                        article_id=self._articles[i].id,
                        score=round(float(min(max(scores[row, i], 0.0), 1.0)), 4),
                        passage=self._passage(int(i), query, None if by_section is None else by_section[row]),
                        heading=float(heading[row, i]),
                        section=float(section[row, i]),
                    )
                    for i in best
                    if scores[row, i] > 0
                ]
            )
        return found

    def _embed(self, encoder: TextEncoder, known: dict[str, Vectors]) -> None:
        headings: list[str] = []
        bodies: list[str] = []
        self._heading_starts: list[int] = []
        self._section_starts: list[int] = []
        for article, parts in zip(self._articles, self._sections, strict=True):
            self._heading_starts.append(len(headings))
            headings.extend([article.title, *article.questions])
            self._section_starts.append(len(bodies))
            bodies.extend(f"{article.title}. {part}" for part in parts if article.body.strip())
            if not article.body.strip():
                bodies.extend(parts)
        wanted = list(dict.fromkeys([*headings, *bodies]))
        new = [text for text in wanted if text not in known]
        self._vectors = {text: known[text] for text in wanted if text in known}
        self._vectors.update(zip(new, encoder.encode(new), strict=True))
        self._heading_vectors: Vectors = np.stack([self._vectors[text] for text in headings])
        self._section_vectors: Vectors = np.stack([self._vectors[text] for text in bodies])

    def _encoder_scores(
        self, encoder: TextEncoder, queries: Sequence[str], lexical: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Vectors, Vectors, Vectors]:
        """Return the scores of the articles, the cosines that they are made of, and those of all sections."""
        vectors = encoder.encode(queries)
        heading = np.maximum.reduceat(vectors @ self._heading_vectors.T, self._heading_starts, axis=1)
        by_section = vectors @ self._section_vectors.T
        section = np.maximum.reduceat(by_section, self._section_starts, axis=1)
        section[:, self._bodyless] = heading[:, self._bodyless]
        share = lexical / np.maximum(lexical.max(axis=1, keepdims=True), 1e-9)
        ties = np.where(self._bodyless, BODYLESS_TIE_WEIGHT, TIE_WEIGHT)
        scores = (heading + section) / 2 + ties * share + self._code_bonus(queries)
        return scores, heading, section, by_section

    def _code_bonus(self, queries: Sequence[str]) -> NDArray[np.float64]:
        bonus = np.zeros((len(queries), len(self._articles)))
        rare = max(1, len(self._articles) // 10)
        for row, query in enumerate(queries):
            for token in words(query):
                holders = self._holders.get(token, set())
                if 0 < len(holders) <= rare:
                    bonus[row, list(holders)] = CODE_BONUS
        return bonus

    def _bm25_scores(self, query: str) -> NDArray[np.float64]:
        tokens = [token for token in words(query) if self._bm25 is not None and token in self._bm25.vocab_dict]
        if self._bm25 is None or not tokens:
            return np.zeros(len(self._articles))
        return np.asarray(self._bm25.get_scores(tokens), dtype=np.float64)

    def _passage(self, row: int, query: str, by_section: Vectors | None) -> str:
        parts = self._sections[row]
        if by_section is not None:
            start = self._section_starts[row]
            return parts[int(np.argmax(by_section[start : start + len(parts)]))]
        asked = set(words(query))
        return max(parts, key=lambda part: len(asked & set(words(part))))

    def _allowed(self, locale: str | None, products: Collection[str]) -> NDArray[np.bool_]:
        rows = np.ones(len(self._articles), dtype=bool)
        if products:
            own = {product.casefold() for product in products}
            for row, theirs in self._about_products:
                rows[row] = bool(own & theirs)
        if locale:
            same = self._in_language.get(_language(locale))
            if same is not None and (rows & same).any():
                rows = rows & same
        return rows


def words(text: str) -> list[str]:
    """Split a text into lower-case words and codes."""
    return [token for token in _WORD.findall(text.casefold()[:20_000]) if len(token) > 1]


def sections(body: str) -> list[str]:
    """Cut a Markdown body at headings and paragraphs into sections of about `SECTION_CHARACTERS`."""
    found: list[str] = []
    present = ""
    for block in re.split(r"\n\s*\n|\n(?=#{1,6} )", body.replace("\r\n", "\n")):
        block = block.strip()
        heading = block.startswith("#")
        if present and (heading or len(present) + len(block) > SECTION_CHARACTERS):
            found.append(present)
            present = ""
        present = f"{present}\n\n{block}".strip()
        while len(present) > 2 * SECTION_CHARACTERS:
            cut = present.rfind(" ", SECTION_CHARACTERS // 2, SECTION_CHARACTERS) + 1 or SECTION_CHARACTERS
            found.append(present[:cut].strip())
            present = present[cut:].strip()
    return [part for part in [*found, present] if part][:MAX_SECTIONS]


def _language(locale: str) -> str:
    return re.split(r"[-_]", locale.lower())[0]


def _largest(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Return the rows of the `k` largest scores, best first and of equal ones the first."""
    rows = np.arange(len(scores))
    if k < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
    return rows[np.argsort(-scores[rows], kind="stable")][:k]


def _all_text(article: Article) -> str:
    return "\n".join([article.title, *article.questions, *article.tags, article.body])

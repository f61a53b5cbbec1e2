"""`ask` and `kb`: the knowledge base on the command line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bot.commands.base import application, config_option, instant_argument, json_option, print_json, print_table
from bot.commands.gaps import gap_options, propose_drafts, show_gaps
from bot.errors import UsageError
from bot.store.knowledge import StoredArticle

__all__ = ["ask_command", "kb_command"]


@click.command("ask")
@click.argument("question", required=False)
@click.option(
    "--batch",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="A file with one question a line: a JSON string, or plain text.",
)
@click.option("--locale", help="The customer's language, where the words do not show it.")
@json_option
@config_option
def ask_command(question: str | None, batch: Path | None, locale: str | None, as_json: bool) -> int:
    """Answer a question as a customer would be answered; nothing is remembered."""
    if (question is None) == (batch is None):
        raise UsageError('give one question, such as aftercare ask "Where is my parcel?", or --batch FILE')
    with application() as app:
        questions = iter([question]) if question is not None else _questions(batch or Path())
        for text in questions:
            asked = app.knowledge.ask(text, locale=locale)
            if as_json:
                print_json([asked.line()])
                continue
            line = asked.line()
            click.echo(f"{line['decision']} ({line['intent']}, {line['confidence']:.2f}): {line['question']}")
            if line["answer"]:
                click.echo(f"\n{line['answer']}\n")
            for found in line["articles"]:
                click.echo(f"  {found['score']:.2f}  {found['id']} v{found['version']}  {found['title']}")
        if not as_json:
            click.echo(f"(answered by {app.knowledge.index().answered_by})", err=True)
    return 0


def _questions(file: Path) -> Iterator[str]:
    source = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    with source:
        for number, raw in enumerate(source, 1):
            try:
                line = raw.decode("utf-8").strip()
            except UnicodeDecodeError:
                raise UsageError(f"{file}:{number}: is not UTF-8 text") from None
            if not line:
                continue
            try:
                value = json.loads(line)
            except ValueError:
                value = line
            yield value if isinstance(value, str) else line


@click.group("kb")
@config_option
def kb_command() -> None:
    """Import, list, show and check articles."""


@kb_command.command("import")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@json_option
@config_option
def import_command(path: Path | None, as_json: bool) -> int:
    """Import articles (.md, .html, .csv, .json) from PATH (else knowledge.dir); changed ones become new versions."""
    with application() as app:
        report = app.knowledge.import_folder(path)
    counts = {name: getattr(report, name) for name in ("new", "updated", "unchanged", "retired", "drafts")}
    if as_json:
        print_json([{**counts, "problems": [str(problem) for problem in report.problems]}])
    else:
        drafts = counts.pop("drafts")
        click.echo(", ".join(f"{count} {name}" for name, count in counts.items()))
        if drafts:
            click.echo(f"{drafts} left out, being drafts")
        for problem in report.problems:
            click.echo(f"refused {problem}", err=True)
    return 3 if report.problems else 0


@kb_command.command("list")
@json_option
@config_option
def list_command(as_json: bool) -> int:
    """List the articles in use."""
    with application() as app:
        rows = [_row(article) for article in app.knowledge.articles()]
    if as_json:
        print_json(rows)
    else:
        columns = ("id", "version", "locale", "title", "owner", "review_by")
        print_table("Articles", columns, [[row[name] for name in columns] for row in rows])
    return 0


@kb_command.command("show")
@click.argument("article_id")
@json_option
@config_option
def show_command(article_id: str, as_json: bool) -> int:
    """Show one article as it is told to customers."""
    with application() as app:
        article = app.knowledge.article(article_id)
    if as_json:
        print_json([{**_row(article), "questions": list(article.questions), "body": article.body}])
    else:
        click.echo(f"# {article.title}  ({article.external_id} v{article.version}, {article.locale})\n\n{article.body}")
        for question in article.questions:
            click.echo(f"  - {question}")
    return 0


@kb_command.command("lint")
@click.option(
    "--unused-days",
    default=180,
    show_default=True,
    type=click.IntRange(1, 3650),
    help="Name articles that nothing cited for so long.",
)
@json_option
@config_option
def lint_command(unused_days: int, as_json: bool) -> int:
    """Say what is to be mended in the articles in use, and which files of knowledge.dir are refused."""
    with application() as app:
        found = app.curation.lint(unused_days)
        decided_by = app.knowledge.decided_by()
    rows = [{"article": one.article_id, "kind": one.kind, "advice": one.advice} for one in found]
    if as_json:
        print_json(rows)
    elif rows:
        print_table("Articles to mend", ("article", "kind", "advice"), [list(row.values()) for row in rows])
    else:
        click.echo("The articles are sound.")
    if not as_json:
        click.echo(f"({decided_by})", err=True)
    return 3 if any(one.refused for one in found) else 0


@kb_command.command("gaps")
@click.option("--draft", type=click.IntRange(1), metavar="N", help="Print the draft of an article about gap N.")
@click.option(
    "--propose", is_flag=True, help="Propose drafts of articles to the agents in Slack, as the daily round does."
)
@gap_options
def gaps_command(draft: int | None, propose: bool, days: int, as_of: str | None, as_json: bool) -> int:
    """List what customers ask and no article answers, or draft an article; nothing is published."""
    if propose:
        return propose_drafts(as_json, alone=draft is None and as_of is None)
    if draft is not None:
        if as_json:
            raise UsageError("a draft is Markdown; leave out --json")
        with application() as app:
            click.echo(app.curation.draft(draft, days, as_of=instant_argument(as_of, app.settings)), nl=False)
        return 0
    return show_gaps(days, as_of, as_json)


def _row(article: StoredArticle) -> dict[str, Any]:
    return {
        "id": article.external_id,
        "version": article.version,
        "title": article.title,
        "locale": article.locale,
        "tags": list(article.tags),
        "products": list(article.products),
        "valid_from": article.valid_from,
        "valid_until": article.valid_until,
        "owner": article.owner,
        "review_by": article.review_by,
        "origin": article.origin,
        "sha256": article.sha256,
    }

"""The knowledge base at work, on both engines and on the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.errors import InputError, NotFound
from bot.services.knowledge.curation import Curation
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import knowledge as store
from bot.store.database import Database
from bot.store.tables import metadata
from messages.answers import known_intents
from messages.reading import SHIPPED_ARTICLES
from tests.encoders import RememberingEncoder

ENCODER = RememberingEncoder()
CLASSIFIER = known_intents(ENCODER)
TEMPLATE = "---\nid: {id}\ntitle: {title}\n{more}---\n\n{body}\n"


def write(folder: Path, name: str, title: str, body: str, **more: str) -> None:
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text(TEMPLATE.format(id=name, title=title, body=body, more=extra))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "kb"
    write(found, "opening", "Opening hours of the shop", "We open at nine.")
    write(found, "gifts", "Gift wrapping", "We wrap for free.", owner="care")
    return found


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)
    monkeypatch.setattr(KnowledgeDesk, "classifier", CLASSIFIER)


@pytest.fixture
def desk(database: Database, clock: ManualClock) -> KnowledgeDesk:
    return KnowledgeDesk(database, clock, Settings.model_validate({"shop": {"timezone": "Europe/Berlin"}}))


def versions(database: Database) -> list[tuple[str, int]]:
    articles, rows = metadata.tables["articles"], metadata.tables["article_versions"]
    with database.read() as connection:
        query = sa.select(articles.c.external_id, rows.c.version).join(rows, rows.c.article_id == articles.c.id)
        return sorted((row[0], row[1]) for row in connection.execute(query))


def test_a_second_import_changes_nothing_and_a_change_is_a_new_version(desk: KnowledgeDesk, folder: Path) -> None:
    assert desk.import_folder(folder).new == 2
    again = desk.import_folder(folder)
    assert (again.new, again.updated, again.unchanged) == (0, 0, 2)
    write(folder, "opening", "Opening hours of the shop", "We open at ten.")
    changed = desk.import_folder(folder)
    assert (changed.new, changed.updated, changed.unchanged) == (0, 1, 1)
    assert versions(desk._database) == [("gifts", 1), ("opening", 1), ("opening", 2)]
    assert desk.article("opening").body == "We open at ten."


def test_bad_files_are_named_and_good_ones_land(desk: KnowledgeDesk, folder: Path) -> None:
    (folder / "bad.md").write_text("---\nid: bad\n---\nx")
    report = desk.import_folder(folder)
    assert report.new == 2
    assert [str(problem) for problem in report.problems] == ["bad.md:2: title is missing"]


def test_a_folder_that_is_not_there_is_an_error(desk: KnowledgeDesk, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        desk.import_folder(tmp_path / "nowhere")
    with pytest.raises(NotFound):
        desk.article("nothing")


def test_the_index_follows_a_change(desk: KnowledgeDesk, folder: Path) -> None:
    desk.import_folder(folder)
    first = desk.index()
    assert desk.index() is first
    write(folder, "returns", "How to return something", "Within 30 days.")
    desk.import_folder(folder)
    assert desk.index() is not first
    assert desk.index().search("return something")[0].article_id == "returns"


def test_the_index_follows_articles_that_leave_and_come_back(desk: KnowledgeDesk, folder: Path) -> None:
    write(folder, "returns", "How to return something", "Within 30 days.")
    desk.import_folder(folder)
    in_use = metadata.tables["articles"]
    with desk._database.write() as connection:
        store.retire(connection, ["gifts"])
    assert {article.id for article in desk.index().articles} == {"opening", "returns"}
    with desk._database.write() as connection:
        store.retire(connection, ["opening"])
        connection.execute(sa.update(in_use).where(in_use.c.external_id == "gifts").values(active=True))
    assert {article.id for article in desk.index().articles} == {"gifts", "returns"}


def test_an_article_is_told_from_its_first_day_to_the_end_of_its_last(
    desk: KnowledgeDesk, folder: Path, clock: ManualClock
) -> None:
    write(folder, "sale", "Christmas opening", "Closed on Friday.", valid_from="2026-03-11", valid_until="2026-03-12")
    desk.import_folder(folder)

    def told() -> bool:
        return "sale" in {article.id for article in desk.index().articles}

    seen = []
    for hours in (0, 11, 24, 24, 24):  # now it is 13:00 on 10 March in Berlin; then midnight of the 11th, 12th, 13th
        clock.advance(timedelta(hours=hours))
        seen.append(told())
    assert seen == [False, True, True, False, False]


def test_the_samples_answer_until_the_shop_has_its_own(desk: KnowledgeDesk, folder: Path) -> None:
    assert desk.ask("How do I clean the filter?").answer.decision == "answer"
    report = desk.import_folder(folder)
    assert report.retired == len(list(SHIPPED_ARTICLES.glob("*.md")))
    assert desk.ask("How do I clean the filter?").answer.decision == "handoff"
    assert {article.external_id for article in desk.articles()} == {"opening", "gifts"}


def test_asking_prints_the_contract(desk: KnowledgeDesk, folder: Path) -> None:
    desk.import_folder(folder)
    line = desk.ask("when do you open, what are the opening hours?").line()
    assert list(line) == ["question", "intent", "decision", "confidence", "articles", "answer"]
    assert line["decision"] == "answer"
    assert line["answer"] == "We open at nine."
    assert list(line["articles"][0]) == ["id", "version", "title", "score"]
    assert line["articles"][0]["version"] == 1


def test_lint_names_samples_owners_dates_and_doubles(
    desk: KnowledgeDesk, folder: Path, database: Database, clock: ManualClock
) -> None:
    curation = Curation(database, clock, Settings(), desk)
    desk.articles()
    assert {one.kind for one in curation.lint()} >= {"sample"}
    write(folder, "old", "Gift wrapping", "x" * 7_000, review_by="2026-01-01")
    desk.import_folder(folder)
    found = {(one.article_id, one.kind) for one in curation.lint()}
    assert {("old", "stale"), ("old", "long"), ("old", "no_owner"), ("old", "double_question")} <= found
    assert ("gifts", "no_owner") not in found


def shop(tmp_path: Path, **knowledge: str) -> Path:
    lines = "".join(f"  {key}: {value}\n" for key, value in knowledge.items())
    file = tmp_path / "config.yaml"
    file.write_text("shop:\n  name: Kehrwerk\n" + (f"knowledge:\n{lines}" if lines else ""))
    return file


def test_ask_answers_a_batch_of_plain_and_quoted_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    config = shop(tmp_path, dir="kb")
    (tmp_path / "q.txt").write_text('"opening hours\\nof the shop?"\n\nstop\nis it kosher\n')
    assert run(["ask", "--batch", str(tmp_path / "q.txt"), "--json", "--config", str(config)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["intent"], line["decision"]) for line in lines] == [
        ("question", "answer"),
        ("opt_out", "answer"),
        ("question", "handoff"),
    ]
    assert lines[0]["question"] == "opening hours\nof the shop?"
    assert lines[2]["answer"] is None


@pytest.mark.parametrize("arguments", [["ask"], ["ask", "x", "--batch", "/dev/null"], ["kb", "show", "nothing"]])
def test_what_cannot_be_asked_ends_with_status_2(tmp_path: Path, arguments: list[str]) -> None:
    assert run([*arguments, "--config", str(shop(tmp_path))]) == 2


def test_kb_imports_lists_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    config = ["--config", str(shop(tmp_path))]
    assert run(["kb", "import", str(folder), "--json", *config]) == 0
    assert json.loads(capsys.readouterr().out)["new"] == 2
    (folder / "bad.md").write_text("nothing")
    assert run(["kb", "import", str(folder), *config]) == 3
    assert "bad.md:1" in capsys.readouterr().err
    assert run(["kb", "list", "--json", *config]) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["gifts", "opening"]
    assert run(["kb", "show", "gifts", *config]) == 0
    assert "We wrap for free." in capsys.readouterr().out
    for command in ("lint", "gaps"):
        assert run(["kb", command, "--json", *config]) == 0


def test_pages_tables_and_exports_are_imported_once_and_changed_ones_become_versions(
    desk: KnowledgeDesk, tmp_path: Path
) -> None:
    kb = tmp_path / "mixed"
    kb.mkdir()
    (kb / "hours.html").write_text("<h1>Opening hours</h1><p>We open at nine.</p>")
    (kb / "table.csv").write_text("id,title,body\ngifts,Gift wrapping,We wrap for free.\nbad,,x\n")
    export = [{"id": 1, "title": "Returns", "body": "<p>Within 30 days.</p>", "section_id": 2}]
    (kb / "export.json").write_text(json.dumps({"articles": [*export, {"id": 2, "draft": True}]}))
    first = desk.import_folder(kb)
    assert (first.new, first.drafts) == (3, 1)
    assert [str(problem) for problem in first.problems] == ["table.csv:3: title is missing"]
    again = desk.import_folder(kb)
    assert (again.new, again.updated, again.unchanged) == (0, 0, 3)
    (kb / "export.json").write_text(json.dumps([{**export[0], "body": "<p>Within 60 days.</p>"}]))
    (kb / "table.csv").unlink()
    changed = desk.import_folder(kb)
    assert (changed.updated, changed.unchanged) == (1, 1)
    # What no longer stands in a file stays in use, as with Markdown.
    assert versions(desk._database) == [("gifts", 1), ("hours", 1), ("zendesk-1", 1), ("zendesk-1", 2)]
    assert {article.external_id for article in desk.articles()} == {"gifts", "hours", "zendesk-1"}


def test_an_import_of_a_table_names_the_refused_rows_and_ends_with_status_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("id,title,body\ngifts,Gift wrapping,We wrap for free.\nbad,,x\n")
    assert run(["kb", "import", str(table), "--json", "--config", str(shop(tmp_path))]) == 3
    (line,) = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["new"], json.loads(line)["problems"]) == (1, ["table.csv:3: title is missing"])

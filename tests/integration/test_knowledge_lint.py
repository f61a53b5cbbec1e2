"""What `kb lint` finds in articles, and what it says to do."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from bot.cli import run
from bot.clock import ManualClock
from bot.config import Settings
from bot.services.knowledge.curation import Curation, Finding
from bot.services.knowledge.desk import KnowledgeDesk
from bot.store import knowledge as store
from bot.store.database import Database
from bot.store.knowledge import NewVersion
from tests.encoders import RememberingEncoder
from tests.integration.test_unanswered import World

ENCODER = RememberingEncoder()
CARE = "Rinse the filter under cold water once a month and let it dry for a whole day before you put it back."


@pytest.fixture(autouse=True)
def _quick_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KnowledgeDesk, "encoder", ENCODER)


def write(folder: Path, name: str, body: str, *, front: str = "", **changed: str) -> None:
    values = {"id": Path(name).name, "title": name, "questions": f"[about {name}]", "owner": "care"}
    head = "".join(
        f"{key}: {value}\n" for key, value in {**values, "review_by": "2027-01-01", **changed}.items() if value
    )
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(f"---\n{head}{front}---\n\n{body}\n", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kb").mkdir()
    return tmp_path / "kb"


def lint(database: Database, clock: ManualClock, folder: Path) -> list[Finding]:
    settings = Settings.model_validate({"knowledge": {"dir": str(folder)}})
    desk = KnowledgeDesk(database, clock, settings)
    desk.import_folder()
    return Curation(database, clock, settings, desk).lint()


def kinds(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.article_id, one.kind) for one in found]


def test_each_fault_of_an_article_is_named_and_a_sound_one_is_not(
    sqlite_database: Database, clock: ManualClock, folder: Path
) -> None:
    write(folder, "sound", "Oil the iron pan with linseed. See [returns](care/returns.md).")
    write(folder, "care/returns", "Send parcels back within thirty days.")
    write(folder, "linked", "Look [here](gone.md), [there](https://) and at https://shop.example/a.")
    write(folder, "late", "Wood floats on the lake.", review_by="2026-03-09", valid_until="2026-01-01")
    write(folder, "undated", "Gift cards never expire.", review_by="", owner="", questions="")
    write(folder, "long", "Kettles whistle. " * 400)
    write(folder, "uses-late", "More about wood: [wood](late.md).")
    (folder / "broken.md").write_text("---\nid: broken\n\x1b---\n")
    found = lint(sqlite_database, clock, folder)
    assert kinds(found) == [
        ("broken.md", "broken_file"),
        ("late", "stale"),
        ("linked", "dead_link"),
        ("linked", "malformed_link"),
        ("linked", "unchecked_link"),
        ("long", "long"),
        ("undated", "no_owner"),
        ("undated", "no_questions"),
        ("undated", "no_review_date"),
        ("uses-late", "dead_link"),
    ]
    assert all(";" in one.advice or "begin with front matter" in one.advice for one in found)
    assert "\x1b" not in str(found)


def test_nearly_the_same_text_is_named_once_and_not_across_languages_or_products(
    sqlite_database: Database, clock: ManualClock, folder: Path
) -> None:
    write(folder, "a", CARE)
    write(folder, "b", CARE.replace("a whole day", "one whole day"))
    write(folder, "c", CARE, locale="fr")
    write(folder, "d", CARE, locale="nl", products="[P1]")
    write(folder, "e", CARE, locale="nl", products="[P2]")
    found = [one for one in lint(sqlite_database, clock, folder) if one.kind == "near_duplicate"]
    assert kinds(found) == [("b", "near_duplicate")]
    assert "the same text as a; put them together" in found[0].advice


def test_two_articles_that_answer_one_question_are_named_with_the_question(
    sqlite_database: Database, clock: ManualClock, folder: Path
) -> None:
    write(
        folder, "refund", "You get your money back within five days.", title="When is my refund paid?",
        questions="['When do I get my money back?']",
    )  # fmt: skip
    write(
        folder, "money", "We pay your money back in five days.", title="When do you refund my money?",
        questions="['When will I get my money back?']",
    )  # fmt: skip
    write(
        folder, "pan", "Oil the iron pan.", title="How to season an iron pan", questions="['Is the iron pan sticky?']"
    )
    found = [one for one in lint(sqlite_database, clock, folder) if one.kind == "competing"]
    assert [one.article_id for one in found] == ["money", "refund"]
    assert "'When will I get my money back?'" in found[0].advice
    assert "refund is found" in found[0].advice
    assert "money is found" in found[1].advice


def test_a_question_owned_word_for_word_is_not_named_twice(
    sqlite_database: Database, clock: ManualClock, folder: Path
) -> None:
    for name in ("one", "two"):
        write(folder, name, f"Number {name} of all.", title="How to season an iron pan", questions="")
    found = [one.kind for one in lint(sqlite_database, clock, folder)]
    assert found.count("double_question") == 1
    assert "competing" not in found


def test_an_article_is_unused_when_it_is_old_and_nothing_cited_it_lately(
    database: Database, clock: ManualClock
) -> None:
    world = World(database, clock)

    def save(name: str, body: str = "b") -> None:
        new = NewVersion(
            external_id=name, title=name, body=body, questions=(), tags=(), locale="en", products=(), valid_from=None,
            valid_until=None, owner=None, review_by=None, sha256=f"{name}{body}",
        )  # fmt: skip
        with database.write() as connection:
            store.save_version(connection, new, clock.now())

    def version(name: str) -> int:
        with database.read() as connection:
            return next(one.version_id for one in store.current_articles(connection) if one.external_id == name)

    for name in ("never", "long-ago", "lately", "older-version", "retired"):
        save(name)
    thread = world.thread()
    world.said(thread, "bot", "b", article_version_id=version("long-ago"))
    clock.advance(timedelta(days=100))
    for name in ("lately", "older-version"):
        world.said(thread, "bot", "b", article_version_id=version(name))
    save("older-version", "changed")
    save("new")
    with database.write() as connection:
        store.retire(connection, ["retired"])
    clock.advance(timedelta(days=10))
    with database.read() as connection:
        assert store.unused_articles(connection, clock.now() - timedelta(days=30)) == {"never", "long-ago"}
        assert store.unused_articles(connection, clock.now() - timedelta(days=200)) == set()


def test_a_file_that_is_refused_ends_with_status_3_and_findings_alone_with_0(
    tmp_path: Path, sqlite_url: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_DATABASE_URL", sqlite_url)
    config = ["--config", str(tmp_path / "config.yaml")]
    (tmp_path / "config.yaml").write_text("shop:\n  name: Kehrwerk\nknowledge:\n  dir: kb\n")
    write(folder, "pan", "Oil the iron pan.", owner="", review_by="2099-01-01")
    assert run(["kb", "import", *config]) == 0
    capsys.readouterr()
    assert run(["kb", "lint", "--json", *config]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line == {"article": "pan", "kind": "no_owner", "advice": "has no owner; write `owner:`"}
    write(folder, "odd", "x", front='"\\e[31mkey": 1\n')
    assert run(["kb", "lint", *config]) == 3
    printed = capsys.readouterr().out
    assert "odd.md" in printed
    assert "\x1b" not in printed

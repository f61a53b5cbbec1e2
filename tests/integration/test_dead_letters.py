"""Promise 13: where a server refuses on and on, the check-in ends as a dead letter that is seen and replayed once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from bot.channels.email import Server, SmtpEmailChannel
from bot.cli import run
from bot.decide.lifecycle import OutreachState
from bot.errors import AlreadyDecided
from bot.services.delivery.deliverer import Deliverer
from bot.services.review.desk import ReviewDesk
from bot.store.database import Database
from tests.contract.test_channels import identity
from tests.integration.delivery_world import Shop
from tests.peers.mail import MailSink, mail_sink

S = OutreachState
REFUSED = "451 4.3.0 not now"


@pytest.fixture
def sink() -> Iterator[MailSink]:
    with mail_sink() as running:
        yield running


class DeadLetters(Shop):
    """A shop whose mail server refuses one customer for now, whenever it is asked."""

    def __init__(self, database: Database, sink: MailSink) -> None:
        super().__init__(database, delivery={"connections": 1, "max_attempts": 3})
        self.sink = sink
        self.smtp = SmtpEmailChannel(Server.from_url(sink.url), identity(), self.clock)
        self.deliverer = Deliverer(database, self.clock, self.settings, {"email": self.smtp}, self.catalogue)
        self.desk = ReviewDesk(database, self.clock, self.settings)

    def refuse_until_given_up(self) -> tuple[int, int]:
        """Send one that is never taken and one that is; return both when nothing more is tried."""
        self.sink.refusals["c1@mail.example"] = REFUSED
        dead, fine = self.approve("c1"), self.approve("c2")
        for _ in range(6):
            self.deliverer.drain()
            self.clock.advance(timedelta(minutes=10))
        return dead, fine


@pytest.fixture
def shop(database: Database, sink: MailSink) -> Iterator[DeadLetters]:
    made = DeadLetters(database, sink)
    yield made
    made.smtp.close()


def test_it_is_tried_as_often_as_was_said_and_the_others_go_out(shop: DeadLetters) -> None:
    dead, fine = shop.refuse_until_given_up()
    assert [shop.see(one).state for one in (dead, fine)] == [S.FAILED, S.SENT]
    assert shop.sink.commands.count("RCPT c1@mail.example") == 3
    assert shop.attempts(dead) == ["retry", "retry", "failed"]
    assert shop.sink.keys() == [f"outreach:{fine}:1"]


def test_it_is_listed_and_its_card_says_why_and_offers_another_try(
    shop: DeadLetters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dead, _ = shop.refuse_until_given_up()
    card = shop.desk.card(dead)
    assert card.outreach.state == S.FAILED
    assert "given up after 3 attempts" in str(card.outreach.refusal)
    assert "451" in str(card.outreach.refusal)
    assert "c1@mail.example" not in str(card.outreach.refusal)
    url = shop.database.engine.url.render_as_string(hide_password=False)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"database": {"url": url}}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AFTERCARE_NOW", shop.clock.now().isoformat())
    monkeypatch.delenv("AFTERCARE_DATABASE_URL", raising=False)
    capsys.readouterr()
    assert run(["outreach", "list", "--state", "failed", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)  # one object a line
    assert (row["id"], row["state"]) == (dead, "failed")
    # The replay by command counts once as well: the second names what was decided.
    assert run(["outreach", "retry", str(dead)]) == 0
    assert run(["outreach", "retry", str(dead)]) == 4
    capsys.readouterr()
    assert shop.see(dead).state == S.APPROVED


def test_of_eight_replays_at_once_one_counts_and_one_mail_leaves(shop: DeadLetters) -> None:
    dead, _ = shop.refuse_until_given_up()
    shop.sink.refusals.clear()
    version = shop.see(dead).version
    start, lock = threading.Barrier(8), threading.Lock()
    won: list[str] = []
    lost: list[str] = []

    def replay(actor: str) -> None:
        start.wait(60)
        try:
            shop.desk.retry(dead, version, actor)
        except AlreadyDecided as error:
            with lock:
                lost.append(str(error))
        else:
            with lock:
                won.append(actor)

    threads = [threading.Thread(target=replay, args=(f"cli:{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1
    assert len(lost) == 7
    assert all(won[0] in words for words in lost)
    for _ in range(3):
        shop.deliverer.drain()
    assert shop.see(dead).state == S.SENT
    taken = shop.sink.keys()
    assert [key for key in taken if key.startswith(f"outreach:{dead}:")] == [f"outreach:{dead}:4"]


def test_a_replay_that_is_refused_again_is_a_dead_letter_again_after_as_many_tries(shop: DeadLetters) -> None:
    dead, _ = shop.refuse_until_given_up()
    shop.desk.retry(dead, shop.see(dead).version, "cli:ana")
    for _ in range(6):
        shop.deliverer.drain()
        shop.clock.advance(timedelta(hours=2))
    assert shop.see(dead).state == S.FAILED
    assert shop.sink.commands.count("RCPT c1@mail.example") == 6

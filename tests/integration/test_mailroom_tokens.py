"""Whatever is done to a token, it never vouches for anybody; and each genuine one finds its own mail (promise 20)."""

from __future__ import annotations

import string
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.channels.email.message import Identity, message_id
from bot.services.mail.inbound import InboundMail, MailKind
from bot.services.mail.matching import Matcher, Proof
from bot.store.database import Connection, Database
from bot.tokens import Purpose, Signer
from tests.integration.delivery_world import Shop

SECRET = "k" * 40
SENT = 5
SIGNER = Signer(SECRET)
IDENTITY = Identity(sender="care@shop.example", name="Kehrwerk", signer=SIGNER, secret=SECRET)
MATCHER = Matcher(SIGNER, lambda key: message_id(IDENTITY, key))
TOKENS = [SIGNER.sign(Purpose.REPLY, f"outreach.{number}") for number in range(1, SENT + 1)]
ALPHABET = string.ascii_letters + string.digits + ".-+=@<> \0é"
quick = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def connection(sqlite_database: Database) -> Iterator[Connection]:
    shop = Shop(sqlite_database)
    for number in range(SENT):
        shop.approve(f"c{number}")
    shop.deliverer.drain()
    with sqlite_database.read() as opened:
        yield opened


def found(connection: Connection, **fields: object) -> tuple[str, Proof] | None:
    mail = InboundMail(**{"kind": MailKind.REPLY, **fields})  # type: ignore[arg-type]
    match = MATCHER.match(connection, mail)
    return None if match is None else (match.letter.subject, match.proof)


@pytest.mark.parametrize("number", range(1, SENT + 1))
def test_each_genuine_token_finds_its_own_mail_in_any_letter_case(connection: Connection, number: int) -> None:
    token = TOKENS[number - 1]
    for written in (token, token.upper(), token.title()):
        assert found(connection, token=written) == (f"outreach.{number}", Proof.TOKEN)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A genuine token with some characters changed, taken out, put in, or exchanged with another token's."""
    token = draw(st.sampled_from(TOKENS))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(token)))
        kind = draw(st.sampled_from(["change", "cut", "insert", "splice", "double"]))
        if kind == "change" and where < len(token):
            token = token[:where] + draw(st.sampled_from(ALPHABET)) + token[where + 1 :]
        elif kind == "cut":
            token = token[:where] + token[where + draw(st.integers(1, 9)) :]
        elif kind == "insert":
            token = token[:where] + draw(st.text(ALPHABET, min_size=1, max_size=5)) + token[where:]
        elif kind == "splice":
            token = token[:where] + draw(st.sampled_from(TOKENS))[where:]
        else:
            token = token + token[where:]
    return token


@quick
@given(token=mutated())
def test_a_mutated_token_never_vouches(connection: Connection, token: str) -> None:
    genuine = {one: number for number, one in enumerate(TOKENS, 1)}
    expected = genuine.get(token.lower())  # a mutation may undo another, or only change the case
    assert found(connection, token=token) == (None if expected is None else (f"outreach.{expected}", Proof.TOKEN))


@quick
@given(token=st.text(max_size=300))
def test_text_that_is_no_token_never_vouches(connection: Connection, token: str) -> None:
    assert found(connection, token=token) is None


@quick
@given(
    purpose=st.sampled_from(list(Purpose)),
    subject=st.from_regex(r"(outreach|utterance|email|slack)\.[0-9]{1,20}", fullmatch=True),
    secret=st.sampled_from([SECRET, "another" * 6]),
    days=st.integers(-800, 400),
)
def test_only_our_own_unexpired_reply_token_of_a_mail_that_was_sent_counts(
    connection: Connection, purpose: Purpose, subject: str, secret: str, days: int
) -> None:
    token = Signer(secret).sign(purpose, subject, timedelta(days=days))
    sent = subject in {f"outreach.{number}" for number in range(1, SENT + 1)}
    genuine = purpose is Purpose.REPLY and secret == SECRET and sent and days >= 0
    assert found(connection, token=token) == ((subject, Proof.TOKEN) if genuine else None)


@quick
@given(data=st.data())
def test_a_message_id_that_we_did_not_give_is_nobodys(connection: Connection, data: st.DataObject) -> None:
    number = data.draw(st.integers(1, SENT))
    genuine = f"<fake-outreach:{number}:1>"  # what this shop's channel gave as evidence
    forged = data.draw(
        st.one_of(
            st.from_regex(r"<outreach\.[1-9]\.[0-9a-f]{20}@shop\.example>", fullmatch=True),
            st.just(genuine),
            st.text(max_size=200),
        )
    )
    assert found(connection, in_reply_to=forged, references=(forged,)) is None


def test_the_message_id_that_we_gave_finds_its_mail(connection: Connection) -> None:
    with patched_evidence(connection) as identifier:
        assert found(connection, in_reply_to=identifier) == ("outreach.1", Proof.REFERENCE)
        assert found(connection, references=("<other@x.example>", identifier)) == ("outreach.1", Proof.REFERENCE)
        # A report's own headers do not count, only those of the mail that came back.
        assert found(connection, kind=MailKind.BOUNCE, in_reply_to=identifier) is None
        assert found(connection, kind=MailKind.BOUNCE, original_message_id=identifier) == (
            "outreach.1",
            Proof.REFERENCE,
        )


@contextmanager
def patched_evidence(connection: Connection) -> Iterator[str]:
    """As after a process that died between the hand-over and the record: no evidence, and yet the mail carried its id."""
    table = "outreaches"
    connection.exec_driver_sql(f"UPDATE {table} SET evidence = NULL WHERE id = 1")
    yield message_id(IDENTITY, "outreach:1:1")

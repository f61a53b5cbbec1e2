"""Takes the tutorial's pictures, of the very demo that `make demo` starts: approve, read, answer, take over."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from bot.demo.day import ANSWERABLE, UNANSWERABLE
from bot.demo.local_slack import AGENTS, LocalSlack, shown_text, until
from docs.pictures.browser import page
from docs.pictures.review_channel import check_size, shoot
from tests.demo_world import Mailbox, running_demo
from tests.peers.local_slack import BINARY

PAINT_SECONDS = 0.7
AGENT_REPLY = "Hello, Ada here, a human. The Breeze 2 needs 230 volts, so please do not plug it in there. I will send you a list of adapters that work."


def shoot_demo(folder: Path) -> None:
    """Start a demo, do what the tutorial says, and take a picture of each step."""
    with tempfile.TemporaryDirectory() as scratch, running_demo(Path(scratch) / "demo-shop", BINARY, 0, 1700) as demo:
        slack, mailbox = LocalSlack.at(demo.address("Slack")), Mailbox(demo.address("Mailbox"))
        cards = until(lambda: m if len(m := slack.messages()) >= 4 else None, "cards in the review channel")
        card = next(one for one in cards if "by email" in shown_text(one))
        name = re.search(r"\*(\w+)\* by email", shown_text(card))
        assert name is not None, shown_text(card)
        shoot(slack.base_url, folder / "demo-card.png", "Approve", height=780, scroll_to=f"heck-in for {name[1]}")
        slack.click(AGENTS[0].id, card, "outreach_approve")
        until(lambda: "Approved by" in str(slack.messages()), "approved card")
        demo.pass_undo_window()
        check_in = mailbox.listed("may arrive later than promised")
        _shoot_mail(mailbox, check_in, folder / "demo-mail.png", typed=ANSWERABLE)
        answer = mailbox.listed("Most late parcels arrive")
        _shoot_mail(mailbox, answer, folder / "demo-answer.png", typed=UNANSWERABLE)
        handoff = until(
            lambda: next((one for one in slack.messages() if "needs a human" in shown_text(one)), None), "hand-over", 60
        )
        shoot(slack.base_url, folder / "demo-handoff.png", "Give back", height=760)
        reply = {"reply": {"text": {"type": "plain_text_input", "value": AGENT_REPLY}}}
        slack.click_and_submit(AGENTS[0].id, handoff, "handoff_reply", "handoff_reply", reply)
        _shoot_mail(mailbox, mailbox.listed("Ada here"), folder / "demo-human.png")


def _shoot_mail(mailbox: Mailbox, path: str, file: Path, *, typed: str = "") -> None:
    """Take a picture of one mail, its customer's next words typed into the box, and send these."""
    with page(f"{mailbox.url}{path}", 1100, 720) as opened:
        opened.wait("document.readyState == 'complete' && !!document.querySelector('textarea')", "the mail")
        # The mail's frame is a process of its own: loaded once more, with somebody to tell, and painted a moment later.
        opened.value(
            "{ const f = document.querySelector('iframe'); f.onload = () => { f.id = 'shown' }; f.src = f.src }"
        )
        opened.wait("!!document.querySelector('iframe#shown')", "the mail's frame")
        time.sleep(PAINT_SECONDS)
        opened.value(f"document.querySelector('textarea').value = {typed!r}")
        opened.picture(file)
        if typed:
            opened.value("document.querySelector('form button[type=submit]').click()")
            opened.wait("document.querySelector('.notice')?.innerText.startsWith('Sent.')", "that the reply was sent")
    check_size(file)

"""Takes the picture of a mail: the approved words as the product composes them, under a mail reader's head lines."""

from __future__ import annotations

import html
import tempfile
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from bot.channels.base import Message
from bot.channels.email import compose
from bot.channels.email.message import wire
from bot.clock import ManualClock
from bot.config import load_settings
from bot.services.delivery.departure import Departure
from bot.wiring import App
from docs.pictures.browser import page

CONFIG = """
shop: {name: Tidewater, timezone: Europe/Berlin}
email: {enabled: true, from: care@tidewater.example, sender_name: Tidewater, outbox: outbox}
web: {base_url: "https://care.tidewater.example"}
"""


def shoot_mail(file: Path, subject: str, text: str, now: datetime) -> None:
    """Compose one mail to an invented customer and take its picture."""
    with tempfile.TemporaryDirectory() as scratch:
        config = Path(scratch) / "config.yaml"
        config.write_text(CONFIG, encoding="utf-8")
        app = App(load_settings(config, {"AFTERCARE_SECRET_KEY": "only for a picture"}), ManualClock(now))
        message = Message(
            key="outreach:1042:1",
            address="maria@example.com",
            subject=subject,
            text=text,
            opt_out_url="https://care.tidewater.example/u/token",
        )
        mail = compose(Departure(app.settings, app.catalogue).as_mail(message), app.email_identity, now)
        file_shown = Path(scratch) / "mail.html"
        file_shown.write_text(
            _reader(message_from_bytes(wire(mail, app.email_identity), policy=policy.default)), encoding="utf-8"
        )
        with page(file_shown.as_uri(), 760, 640) as opened:
            shown = "document.querySelector('iframe').contentDocument.body.innerText"
            opened.wait(f"document.readyState == 'complete' && {shown}.includes('Unsubscribe')", "the mail")
            opened.picture(file)
        app.close()


def _reader(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    lines = "".join(
        f"<div><b>{name}</b> {html.escape(str(mail[name]))}</div>"
        for name in ("From", "To", "Subject", "List-Unsubscribe")
    )
    frame = html.escape(part.get_content(), quote=True)
    return (
        "<!doctype html><meta charset='utf-8'><style>body{margin:0;font:14px/1.6 sans-serif;color:#222}"
        "header{padding:12px 20px;border-bottom:1px solid #ddd;overflow-wrap:anywhere}b{display:inline-block;min-width:11em}"
        "iframe{border:0;width:100%;height:520px}</style>"
        f'<header>{lines}</header><iframe srcdoc="{frame}"></iframe>'
    )

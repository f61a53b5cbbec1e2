"""Slack's requests over HTTP: only what Slack signed, in the last five minutes, reaches the Bolt app.

Bolt checks signatures too, but only after it has parsed the body, and it trips over odd headers; so the same check of the
SDK stands here first. Serving is `bot.web`'s business; what a request does is `listeners`', as in Socket Mode.

Protocol: https://docs.slack.dev/authentication/verifying-requests-from-slack/
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import structlog
from slack_bolt import App, BoltRequest
from slack_sdk.signature import SignatureVerifier

__all__ = ["PATH", "Reply", "answer"]

log = structlog.get_logger(__name__)

PATH = "/slack/events"
SIGNATURE, TIMESTAMP, CONTENT_TYPE = "x-slack-signature", "x-slack-request-timestamp", "content-type"
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}\Z")
_TIMESTAMP = re.compile(r"[0-9]{1,12}\Z")

# Status, headers, body.
Reply = tuple[int, dict[str, str], str]
_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def answer(bolt: App | None, signing_secret: str, body: bytes, headers: Mapping[str, str]) -> Reply:
    """Answer one POST.

    Parameters
    ----------
    bolt : App or None
        None while Slack is not connected yet; Slack then tries again.
    body : bytes
        As it came: the signature is over these octets.
    headers : mapping of str to str
        Names in any case.

    Returns
    -------
    Reply
        401 for what Slack did not sign, or signed more than five minutes ago by this machine's clock.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if not _signed(signing_secret, body, given):
        log.warning("slack_request_refused", octets=len(body), signed=SIGNATURE in given)
        return 401, _TEXT, "this request does not carry Slack's valid signature"
    if bolt is None:
        return 503, {**_TEXT, "Retry-After": "5"}, "not connected to Slack yet"
    # Other headers are not signed, and some of them would steer Bolt.
    kept = {name: given[name] for name in (SIGNATURE, TIMESTAMP, CONTENT_TYPE) if name in given}
    try:
        request = BoltRequest(body=body.decode("utf-8"), headers=dict(kept))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        log.warning("slack_request_unreadable", octets=len(body), error=type(error).__name__)
        return 400, _TEXT, "this body cannot be read"
    if "x-slack-retry-num" in given:
        log.info("slack_request_repeated", reason=given.get("x-slack-retry-reason", "")[:40])
    response = bolt.dispatch(request)
    return response.status, dict(response.first_headers_without_set_cookie()), str(response.body or "")


def _signed(signing_secret: str, body: bytes, headers: Mapping[str, str]) -> bool:
    timestamp, signature = headers.get(TIMESTAMP, ""), headers.get(SIGNATURE, "")
    if not _TIMESTAMP.match(timestamp) or not _SIGNATURE.match(signature):
        return False
    try:
        return bool(SignatureVerifier(signing_secret).is_valid(body, timestamp, signature))
    except UnicodeDecodeError:  # Slack signs text
        return False

"""The mail within what a provider posts: as it came, or in the field of a form or a JSON object that holds it raw.

Only the raw mail is taken, never what a provider made of it. Whether a request is genuine is `bot.web.mail_hook`'s
business, reading the mail the email channel's. Nothing here takes more than a fixed number of passes over the body.

Fields: Postmark `RawEmail` (https://postmarkapp.com/developer/webhooks/inbound-webhook, "Include raw email content"),
SendGrid `email` (Inbound Parse, "POST the raw, full MIME message"), Mailgun `body-mime` (routes to an address that ends in
`mime`), others `raw` or `raw_base64`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from bot.errors import InputError

__all__ = ["MEDIA_TYPES", "NoMail", "Posted", "mail_within"]

RAW = "message/rfc822"
JSON, FORM, MULTIPART = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
MEDIA_TYPES = (RAW, JSON, FORM, MULTIPART)
# In this order; a request is expected to have one.
_FIELDS = ("RawEmail", "email", "body-mime", "raw", "raw_base64")
_PROOF = ("timestamp", "token", "signature")
_MOST_FIELDS = 200
_PART_HEAD_OCTETS = 8 * 1024
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_NAME = re.compile(
    rb'^content-disposition:\s*form-data;[^\r\n]*?\bname="?([^"\r\n;]{1,100})', re.IGNORECASE | re.MULTILINE
)


class NoMail(InputError):
    """There is no raw mail in what was posted; the message says what to switch on."""


@dataclass(frozen=True, kw_only=True)
class Posted:
    """What was posted.

    Attributes
    ----------
    mail : bytes
        The raw mail.
    fields : mapping of str to str
        What proves a form (`timestamp`, `token`, `signature`); empty for other kinds.
    """

    mail: bytes
    fields: Mapping[str, str] = field(default_factory=dict)


def mail_within(content_type: str, body: bytes) -> Posted:
    """Find the mail.

    Parameters
    ----------
    content_type : str
        The request's header, parameters included.

    Raises
    ------
    NoMail
        It is of another kind, broken, or holds no raw mail.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == RAW:
        return Posted(mail=body)
    if kind == JSON:
        return Posted(mail=_raw(_object(body)))
    if kind == FORM:
        fields = _form(body)
    elif kind == MULTIPART:
        fields = _parts(content_type, body)
    else:
        raise NoMail(f"post the raw mail, with Content-Type: {RAW}, or in a field {', '.join(_FIELDS)}")
    proof = {name: value.decode("ascii", "replace") for name, value in fields.items() if name in _PROOF}
    return Posted(mail=_raw(fields), fields=proof)


def _raw(fields: Mapping[str, bytes]) -> bytes:
    name = next((one for one in _FIELDS if fields.get(one)), None)
    if name is None:
        raise NoMail(f"there is no raw mail in it: let your provider post one, in a field {', '.join(_FIELDS)}")
    if name != "raw_base64":
        return fields[name]
    try:
        return base64.b64decode(fields[name], validate=True)
    except binascii.Error as error:
        raise NoMail("raw_base64 is not base64") from error


def _object(body: bytes) -> dict[str, bytes]:
    try:
        tree = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoMail("this is no JSON") from error
    if not isinstance(tree, dict):
        raise NoMail("this is no JSON object")
    found = {name: tree[name] for name in _FIELDS if isinstance(tree.get(name), str)}
    # A lone surrogate is no character; the reader of the mail repairs what is no UTF-8.
    return {name: value.encode("utf-8", "surrogatepass") for name, value in found.items()}


def _form(body: bytes) -> dict[str, bytes]:
    try:
        # Latin-1 keeps every octet as it was.
        pairs = parse_qsl(
            body.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise NoMail(f"this form has more than {_MOST_FIELDS} fields") from error
    return {name: value.encode("latin-1") for name, value in reversed(pairs)}


def _parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """Cut a form at its boundary (RFC 7578); a part's octets are kept as they are, the first of a name counts."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise NoMail("this form names no boundary")
    boundary = b"\r\n--" + (found[1] or found[2]).encode("latin-1", "replace")
    parts = (b"\r\n" + body).split(boundary, _MOST_FIELDS + 1)
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise NoMail(f"this form does not end, or has more than {_MOST_FIELDS} fields")
    fields: dict[str, bytes] = {}
    for part in parts[1:-1]:
        end = part.find(b"\r\n\r\n", 0, _PART_HEAD_OCTETS)
        name = _NAME.search(part[: max(end, 0)])
        if name is not None:
            fields.setdefault(name[1].decode("latin-1"), part[end + 4 :])
    return fields

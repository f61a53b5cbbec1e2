"""The way of a customer's reply into the bot: posted to `/hooks/mail` and signed, as a mail provider would.

What the bot does with it is `bot.services.mail.mailroom`'s business; this end knows an address and a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
from urllib.parse import urlsplit

from bot.errors import ChannelError
from bot.web.mail_hook import PATH

__all__ = ["MailDoor"]

PATIENCE_SECONDS = 15


class MailDoor:
    """Hands mails over to a running bot.

    Parameters
    ----------
    url : str
        Where its web server listens, such as `http://127.0.0.1:8080`.
    secret : str
        AFTERCARE_MAIL_HOOK_SECRET.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._address = urlsplit(url).netloc
        self._secret = secret.encode()

    def post(self, content: bytes) -> None:
        """Hand over one mail.

        Raises
        ------
        ChannelError
            The bot did not take it.
        """
        timestamp = str(int(time.time()))  # signatures count real time, whatever the demo's clock says
        digest = hmac.new(self._secret, f"v1:{timestamp}:".encode() + content, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "message/rfc822",
            "X-Aftercare-Timestamp": timestamp,
            "X-Aftercare-Signature": f"v1={digest}",
        }
        # Straight to loopback: urllib would ask a proxy that the environment names.
        connection = http.client.HTTPConnection(self._address, timeout=PATIENCE_SECONDS)
        try:
            connection.request("POST", PATH, content, headers)
            answer = connection.getresponse()
            words = answer.read(200).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise ChannelError(f"the bot does not take mails at {self._address} ({error})") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ChannelError(f"the bot did not take the mail: {answer.status} {words}")

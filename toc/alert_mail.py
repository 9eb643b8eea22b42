"""Alerts by mail: one message each, handed to an SMTP server in a thread beside the loop. Knows no rule and no click."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from redirector.delivery import TIMEOUT, DeliveryError, Item


@dataclass(frozen=True, slots=True)
class Server:
    """Where mails are handed over. tls: ``none``, ``starttls`` or ``tls``"""

    host: str
    port: int
    tls: str
    user: str
    password: str
    context: ssl.SSLContext


class MailRoad:
    """A `redirector.delivery.Road`: the first line of an item is the subject, the rest the text."""

    def __init__(self, server: Server, sender: str, recipients: Sequence[str]) -> None:
        self._server = server
        self._sender = sender
        self._recipients = tuple(recipients)

    async def deliver(self, items: Sequence[Item]) -> int:
        if not items:
            return 0
        try:
            await asyncio.to_thread(self._send, [self._message(item) for item in items])
        except (smtplib.SMTPException, OSError) as error:
            place = f"{self._server.host}:{self._server.port}"
            raise DeliveryError(f"{place}: {str(error) or type(error).__name__}") from None
        return items[-1].number

    def _message(self, item: Item) -> EmailMessage:
        subject, _, body = item.line.partition("\n")
        message = EmailMessage()
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Subject"] = subject
        message["Date"] = format_datetime(datetime.fromisoformat(item.time))
        message["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2] or "localhost")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no vacation message comes back
        message.set_content(body.strip() + "\n")
        return message

    def _send(self, messages: Sequence[EmailMessage]) -> None:
        server = self._server
        if server.tls == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=TIMEOUT, context=server.context
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)
        with connection:
            if server.tls == "starttls":
                connection.starttls(context=server.context)
            if server.user:
                connection.login(server.user, server.password)
            for message in messages:
                connection.send_message(message)

    async def close(self) -> None:
        """Nothing stays open between two alerts."""

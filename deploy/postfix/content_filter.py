#!/usr/bin/env python3
"""An after-queue content filter for Postfix: SMTP in, ``POST /v1/messages/rewrite``, SMTP out.

Needs aiosmtpd and httpx. Keeps nothing: Postfix is told 250 only when the mail is back in its queue. Whatever fails, here
or behind, is a temporary failure, and Postfix keeps the mail.

    content_filter.py --api http://127.0.0.1:8081 --key-file /etc/toc/api-key --listen 127.0.0.1:10025 --next 127.0.0.1:10026
"""

from __future__ import annotations

import argparse
import asyncio
import smtplib
import sys
from pathlib import Path

import httpx
from aiosmtpd.smtp import SMTP, Envelope, Session

TRY_AGAIN = "451 4.7.1 the links of this mail could not be protected now"
XFORWARD = "250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"


class Forwarded(SMTP):
    """SMTP with XFORWARD (Postfix's XFORWARD_README): which host has really delivered the mail."""

    line_length_limit = 1 << 30

    async def smtp_XFORWARD(self, argument: str | None) -> None:
        words = dict(word.split("=", 1) for word in (argument or "").split() if "=" in word)
        facts = getattr(self.session, "xforward", {}) | {name.upper(): value for name, value in words.items()}
        self.session.xforward = facts
        await self.push("250 2.0.0 Ok")


class Filter:
    """The handler: one mail in, one mail out."""

    def __init__(self, client: httpx.AsyncClient, next_hop: tuple[str, int], direction: str) -> None:
        self._client = client
        self._next = next_hop
        self._direction = direction

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        return [responses[0], XFORWARD, *responses[1:]]

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        try:
            content = await self._rewritten(session, envelope)
            if content is None:
                return TRY_AGAIN
            return await asyncio.to_thread(self._send, envelope, content)
        except (httpx.HTTPError, OSError, smtplib.SMTPException) as error:
            print(f"content_filter: {error!r}", file=sys.stderr)
            return TRY_AGAIN

    async def _rewritten(self, session: Session, envelope: Envelope) -> bytes | None:
        raw = bytes(envelope.original_content or b"")
        facts = getattr(session, "xforward", {})
        address = facts.get("ADDR", "").removeprefix("IPV6:")
        headers = [
            ("Content-Type", "message/rfc822"),
            ("Toc-Direction", self._direction),
            ("Toc-Sender", envelope.mail_from or ""),
            *(("Toc-Recipient", recipient) for recipient in envelope.rcpt_tos),
        ]
        if address and address != "[UNAVAILABLE]":
            headers.append(("Toc-Client-Address", address))
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        answer = await self._client.post("/v1/messages/rewrite", content=raw, headers=encoded)
        if answer.status_code not in (200, 204) or "toc-disposition" in answer.headers:
            print(f"content_filter: the answer was {answer.status_code} {answer.text[:200]}", file=sys.stderr)
            return None
        return answer.content if answer.status_code == 200 else raw

    def _send(self, envelope: Envelope, content: bytes) -> str:
        """Hand it on. The answer behind is the answer here, so that a refusal reaches Postfix as what it is."""
        with smtplib.SMTP(*self._next, timeout=300) as client:
            client.ehlo()
            options = [option for option in envelope.mail_options if option.upper() in ("BODY=8BITMIME", "SMTPUTF8")]
            try:
                refused = client.sendmail(envelope.mail_from or "", envelope.rcpt_tos, content, mail_options=options)
            except smtplib.SMTPResponseException as error:
                return f"{error.smtp_code} {error.smtp_error.decode('ascii', 'replace').splitlines()[0]}"
        return TRY_AGAIN if refused else "250 2.0.0 Ok"


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


async def serve(arguments: argparse.Namespace) -> None:
    key = Path(arguments.key_file).read_text("ascii").strip()
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=arguments.api, headers=headers, timeout=300) as client:
        handler = Filter(client, arguments.next, arguments.direction)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Forwarded(handler, data_size_limit=None, enable_SMTPUTF8=True, decode_data=False), *arguments.listen
        )
        async with server:
            await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="After-queue content filter for Postfix.")
    parser.add_argument("--api", required=True, help="base URL of the management listener")
    parser.add_argument("--key-file", required=True, help="file with an API key of scope rewrite")
    parser.add_argument("--listen", type=address, default=("127.0.0.1", 10025))
    parser.add_argument("--next", type=address, default=("127.0.0.1", 10026))
    parser.add_argument("--direction", choices=("inbound", "outbound", "internal"), default="inbound")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""An after-queue content filter for Postfix: SMTP in, ``POST /v1/messages/rewrite``, SMTP out.

Needs aiosmtpd and httpx. Keeps nothing: Postfix is told 250 only when the mail is back in its queue. Whatever fails here is
a temporary failure, and Postfix keeps the mail.

    content_filter.py --api http://127.0.0.1:8081 --key-file /etc/toc/api-key --listen 127.0.0.1:10025 --next 127.0.0.1:10026
"""

from __future__ import annotations

import argparse
import asyncio
import re
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
    command_size_limit = 4096  # Postfix's line_length_limit is 2048, and XFORWARD holds names of hosts

    async def smtp_XFORWARD(self, argument: str | None) -> None:
        self.session.xforward = [*getattr(self.session, "xforward", ()), argument or ""]
        await self.push("250 2.0.0 Ok")

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        """The address as Postfix has taken it, brackets included: what it queued is not for us to refuse or to spell anew.

        With its brackets even the empty sender of a bounce is something; aiosmtpd refuses it else.
        """
        found = re.fullmatch(r"(<(?:\"(?:[^\"\\]|\\.)*\"|[^\"<>])*>)(?: (.*))?", arg)
        return (found[1], found[2] or "") if found else (None, None)


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
        forwarded = getattr(session, "xforward", [])
        session.xforward = []  # each mail of a session has its own
        content = await self._rewritten(forwarded, envelope)
        return TRY_AGAIN if content is None else await asyncio.to_thread(self._send, forwarded, envelope, content)

    async def handle_exception(self, error: Exception) -> str:
        print(f"content_filter: {error!r}", file=sys.stderr)
        return TRY_AGAIN

    async def _rewritten(self, forwarded: list[str], envelope: Envelope) -> bytes | None:
        raw = bytes(envelope.original_content or b"")
        address = re.search(r"\bADDR=(?:IPV6:)?([0-9A-Fa-f.:]+)", " ".join(forwarded))
        headers = [
            ("Content-Type", "message/rfc822"),
            ("Toc-Direction", self._direction),
            ("Toc-Sender", str(envelope.mail_from)[1:-1]),
            *(("Toc-Recipient", recipient[1:-1]) for recipient in envelope.rcpt_tos),
            *([("Toc-Client-Address", address[1])] if address else []),
        ]
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        answer = await self._client.post("/v1/messages/rewrite", content=raw, headers=encoded)
        if answer.status_code not in (200, 204) or "toc-disposition" in answer.headers:
            print(f"content_filter: the answer was {answer.status_code} {answer.text[:200]}", file=sys.stderr)
            return None
        return answer.content if answer.status_code == 200 else raw

    def _send(self, forwarded: list[str], envelope: Envelope, content: bytes) -> str:
        """Hand it on, to all its recipients or none. The answer behind is the answer here, a refusal included."""
        with smtplib.SMTP(*self._next, timeout=300) as client:
            client.ehlo()
            client.command_encoding = "utf-8"
            options = [option for option in envelope.mail_options if option.upper() in ("BODY=8BITMIME", "SMTPUTF8")]
            commands = [f"XFORWARD {line}" for line in forwarded if client.has_extn("xforward")]
            commands.append(" ".join([f"MAIL FROM:{envelope.mail_from}", *options]))
            commands += [f"RCPT TO:{recipient}" for recipient in envelope.rcpt_tos]
            for command in commands:
                code, said = client.docmd(command)
                if code != 250:
                    return _answer(code, said)
            return _answer(*client.data(content))


def _answer(code: int, said: bytes) -> str:
    return f"{code} {said.decode('ascii', 'replace').splitlines()[0]}"


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

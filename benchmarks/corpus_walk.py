"""Sends every mail of the third-party corpus through a running service and follows every link that comes out.

    python -m benchmarks.corpus_walk CORPUS ADMIN PUBLIC KEY

Prints how many reference links forward to the target as a browser would serialise it, and each that does not, with the reason
that the receipt gives. The service's `public_url` must be the one that PUBLIC serves. Nothing is fetched but our own links.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import gzip
import json
import sys
import tarfile
from pathlib import Path

import httpx

from toc.errors import BadUrl
from toc.url import serialise

AGENT = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "accept-language": "en", "accept": "text/html"}


def mails(corpus: Path):
    for archive in sorted((corpus / "mail_share").glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile():
                    yield member.name.lstrip("./"), tar.extractfile(member).read()


def references(corpus: Path) -> dict[str, list]:
    found = {}
    for name in ("reference_links.jsonl.gz", "reference_links_openbmc_list.jsonl.gz"):
        with gzip.open(corpus / "mail_share" / name, "rt") as lines:
            for line in lines:
                row = json.loads(line)
                found[row["file"]] = row["links"]
    return found


async def rewrite(client: httpx.AsyncClient, admin: str, key: str, raw: bytes) -> dict:
    headers = {"authorization": f"Bearer {key}", "content-type": "message/rfc822", "accept": "application/json"}
    headers |= {"toc-sender": "sender@example.org", "toc-recipient": "reader@example.com"}
    answer = await client.post(f"{admin}/v1/messages/rewrite", content=raw, headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()


async def follow(client: httpx.AsyncClient, public: str, link: str, gate: asyncio.Semaphore) -> str:
    path = "/u/" + link.partition("/u/")[2]
    async with gate:
        answer = await client.get(public + path, headers=AGENT, timeout=60)
    return answer.headers.get("location") or f"page {answer.status_code}"


def wanted_targets(links: list, places: dict[str, str]) -> list[str]:
    """The reference's navigable http(s) values, as a browser would serialise them."""
    found = []
    for _part, tag, attribute, value in links:
        if (tag, attribute) not in {("a", "href"), ("area", "href"), ("form", "action")}:
            continue
        try:
            href = serialise(value)
        except BadUrl:
            continue
        if href.startswith(("http:", "https:")):
            found.append(href)
    return found


async def main(corpus: Path, admin: str, public: str, key: str) -> None:
    expected = references(corpus)
    gate = asyncio.Semaphore(32)
    figures: collections.Counter[str] = collections.Counter()
    missed = []
    async with httpx.AsyncClient(follow_redirects=False, limits=httpx.Limits(max_connections=32)) as client:
        for name, raw in mails(corpus):
            document = await rewrite(client, admin, key, raw)
            figures["mails"] += 1
            receipt = document["receipt"]
            base64.b64decode(document["message_b64"], validate=True)
            sealed = [row for row in receipt if row.get("link") and row["outcome"] == "rewritten"]
            targets = await asyncio.gather(*(follow(client, public, row["link"], gate) for row in sealed))
            figures["clicked"] += len(sealed)
            arrived = collections.Counter()
            for row, target in zip(sealed, targets, strict=True):
                if target == row["url"]:
                    figures["forwarded to the sealed URL"] += 1
                    arrived[target] += 1
                else:
                    missed.append((name, row["url"], f"click gave {target}"))
            reasons = {row["url"]: f"{row['outcome']}: {row['reason']}" for row in receipt}
            for href in wanted_targets(expected.get(name, []), reasons):
                figures["reference links"] += 1
                if arrived[href]:
                    figures["reference links forwarded"] += 1
                else:
                    missed.append((name, href, reasons.get(href, "not in the receipt")))
    for row in missed:
        print(*row)
    print(dict(figures))
    share = figures["reference links forwarded"] / max(figures["reference links"], 1)
    print(f"{share:.2%} of the reference links forward to the target as a browser serialises it")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:5]))

"""Signs alone must not cry wolf: under 0.5 % of the links in honest mail, and of well-known hosts, would warn.

The brands are those that impostors imitate most (fixtures/brands.jsonl), as an operator would list them; nobody is
familiar, and no list of popular domains helps. What would warn is printed.
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from reputation.brands import Brand, Brands
from reputation.forms import forms
from reputation.signs import signs
from rewriter.message import rewrite_message
from rewriter.options import Options
from tests.conftest import ROOT
from tests.reversible import protect
from toc.link import Fate, Link
from toc.url import parse
from toc.verdict import SUSPICIOUS_POINTS

GOAL = 0.005
BRANDS = Brands(
    Brand(row["name"], tuple(row["domains"]))
    for row in map(json.loads, (ROOT / "fixtures" / "brands.jsonl").read_text().splitlines())
)
NOT_HONEST = frozenset({"rspamd", "spamscope"})
"""Samples of spam filters. Single mails of other sets are marked as spam by the path that they came from."""


def honest_links(folder: Path) -> Iterator[tuple[str, Link]]:
    rows = [json.loads(line) for path in folder.glob("manifest*.jsonl") for line in path.read_text().splitlines()]
    honest = {
        row["file"] for row in rows if row["set"] not in NOT_HONEST and "/spam" not in row["src"].partition(":")[2]
    }
    for archive in sorted(folder.glob("*.tar.gz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() and member.name in honest else None
                if file is not None:
                    yield from ((member.name, link) for link in links_of(file.read()))


def links_of(raw: bytes) -> list[Link]:
    found: list[Link] = []

    def collect(link: Link) -> Fate:
        found.append(link)
        return protect(link)

    rewrite_message(raw, collect, Options())
    return found


def warning(url: str, **more) -> str | None:
    """What a recipient would be warned of, None for nothing."""
    found = signs(forms(parse(url)), brands=BRANDS, **more)
    if sum(sign.points for sign in found) < SUSPICIOUS_POINTS:
        return None
    return f"{url}: " + ", ".join(f"{sign.code} ({sign.detail})" for sign in found)


def share(warned: list[str], total: int) -> float:
    print(f"{len(warned)} of {total} would warn", *warned, sep="\n  ")
    return len(warned) / total


def test_links_in_honest_mail(corpus):
    links = list(honest_links(corpus / "mail_share"))
    assert len(links) > 3000
    warned = [
        f"{name} {said}"
        for name, link in links
        if (said := warning(link.url, text_differs=link.differs, spelt=link.text or None))
    ]
    assert share(warned, len(links)) < GOAL


def test_links_in_honest_mail_on_an_installation_that_has_seen_no_host_before(corpus):
    links = list(honest_links(corpus / "mail_share"))
    warned = [
        f"{name} {said}"
        for name, link in links
        if (said := warning(link.url, text_differs=link.differs, spelt=link.text or None, first_seen_hours=1.0))
    ]
    assert share(warned, len(links)) < GOAL


def test_well_known_hosts(corpus):
    hosts = gzip.decompress((corpus / "lists" / "misp_tranco10k.txt.gz").read_bytes()).decode().split()
    assert len(hosts) == 10_000
    warned = [said for host in hosts if (said := warning(f"https://{host}/"))]
    assert share(warned, len(hosts)) < GOAL

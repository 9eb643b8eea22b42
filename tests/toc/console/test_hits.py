"""Retrospective hits in the console.

Invariants: newest first, each once, over pages of any number; a click leads to its story, a held link to the mail to purge with
everybody who holds it; the overview counts the last 24 hours and says nothing where there is nothing.
"""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from sqlalchemy import insert, select

from tests.redirector.record_data import click, put
from tests.toc.console.conftest import Site, message
from toc import records
from toc.console import hits as hits_page
from toc.knowledge import utc_now
from toc.store.schema import clicks, hits, links

URL = "https://login.evil.example/pay?u=secret-value"


async def accused(site: Site, number: int, *, age: timedelta = timedelta(), clicked: bool = False) -> None:
    """A mail whose link an entry accuses, `age` ago; its reader has clicked, or holds it yet."""
    ref = number.to_bytes(8, "big")
    async with site.engine.begin() as connection:
        await records.store(connection, message(number, f"mail {number}", URL, "s@s.example", f"p{number}@r.example"))
    if clicked:
        await put(site.database, click(number, URL, message_ref=ref, recipient_ref=b"r%07d" % number, time=utc_now()))
    async with site.engine.begin() as connection:
        row = {"time": utc_now() - age, "source": "a-list", "entry": f"entry-{number}.example"}
        what = (
            {"click": (await connection.scalar(select(clicks.c.id).where(clicks.c.message_ref == ref)))}
            if clicked
            else {"link": (await connection.scalar(select(links.c.id).where(links.c.message_ref == ref)))}
        )
        await connection.execute(insert(hits).values(**row, **what))


async def test_a_click_leads_to_its_story_and_a_link_to_its_mail(site: Site) -> None:
    await accused(site, 1, clicked=True)
    await accused(site, 2)
    browser = await site.signed_in("vera")
    page = (await browser.get("/console/hits")).text
    newest, older = re.findall(r"<tr role=\"row\">.*?</tr>", page.partition("<tbody")[2], re.DOTALL)
    assert "link held" in newest
    assert "&lt;mail 2@x&gt;" in newest
    assert "p2@r.example" in newest
    assert 'data-copy="entry-2[.]example"' in newest
    assert "/console/clicks/" not in newest
    assert "p1@r.example" in older
    for row, place in ((older, r"clicks/[0-9a-f]{32}"), (newest, r"messages/[0-9a-f]{16}")):
        found = re.search(f'href="(/console/{place})"', row)
        assert (await browser.get(found.group(1))).status_code == 200
    assert "secret-value" not in page


async def test_nothing_was_accused(site: Site) -> None:
    browser = await site.signed_in("vera")
    assert "No entry that came later accuses anything" in (await browser.get("/console/hits")).text
    assert "Retrospective hits of" not in (await browser.get("/console/")).text
    assert (await browser.get("/console/hits?cursor=x")).status_code == 400


async def test_the_overview_counts_the_last_day(site: Site) -> None:
    await accused(site, 1, age=timedelta(hours=25))
    await accused(site, 2, age=timedelta(hours=23))
    await accused(site, 3)
    page = (await (await site.signed_in("vera")).get("/console/")).text
    assert re.search(r'href="/console/hits">Retrospective hits of the last 24 hours: 2<', page)


async def test_pages_show_each_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hits_page, "PAGE", 2)
    for number in range(1, 6):
        await accused(site, number)
    browser = await site.signed_in("vera")
    place, seen = "/console/hits", []
    while place:
        page = (await browser.get(place)).text
        seen += re.findall(r"<bdi>entry-(\d)\.example", page)
        following = re.search(r'href="(/console/hits\?cursor=[^"]+)">Older', page)
        place = following.group(1) if following else ""
    assert seen == ["5", "4", "3", "2", "1"]


async def test_what_is_gone_by_retention_is_left_out(site: Site) -> None:
    await accused(site, 1)
    await accused(site, 2)
    async with site.engine.begin() as connection:
        await connection.execute(links.delete().where(links.c.message_ref == (1).to_bytes(8, "big")))
    page = (await (await site.signed_in("vera")).get("/console/hits")).text
    assert "entry-2.example" in page
    assert "entry-1.example" not in page

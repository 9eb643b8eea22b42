"""While an entry is typed, the console shows whom it would have met; what it shows is what `toc.impact` finds."""

from __future__ import annotations

import re

from tests.redirector.record_data import click, put
from tests.toc.console.conftest import Site, message
from toc import records
from toc.knowledge import utc_now

URL = "https://login.evil.example/pay?u=secret-value"


async def filled(site: Site) -> None:
    """Two mails with the same link; the first one's reader has clicked."""
    async with site.engine.begin() as connection:
        for number, who in ((1, "ana"), (2, "ben")):
            made = message(number, f"mail {number}", URL, "s@s.example", f"{who}@r.example")
            await records.store(connection, made)
    ref = (1).to_bytes(8, "big")
    await put(site.database, click(1, URL, message_ref=ref, recipient_ref=b"r%07d" % 1, time=utc_now()))


async def check(site: Site, language: str = "en", **fields: str) -> str:
    browser = await site.signed_in("ana")
    answer = await browser.get("/console/objects/check", params=fields, headers={"Accept-Language": language})
    assert answer.status_code == 200
    return answer.text


async def test_clicks_and_held_links_are_shown(site: Site) -> None:
    await filled(site)
    page = await check(site, type="domain", value="evil[.]example", action="block")
    assert "1 clicks of the last 30 days are met, 1 were let through and would have been stopped" in page
    assert "1 links to it are held and not clicked" in page
    purge = page.partition("Mails to purge")[2]
    assert "&lt;mail 2@x&gt;" in purge
    assert "ben@r.example" in purge
    assert "ana@r.example" not in purge
    assert "secret-value" not in page


async def test_an_approval_stops_nobody(site: Site) -> None:
    await filled(site)
    page = await check(site, type="domain", value="evil.example", action="allow")
    assert "1 clicks of the last 30 days are met, 0 were let through" in page


async def test_nobody_is_met(site: Site) -> None:
    await filled(site)
    page = await check(site, type="domain", value="nobody.example", action="block")
    assert "No click on record is covered by it." in page
    assert "Nobody holds a link to it that is not clicked yet." in page


async def test_what_reaches_far_is_said_and_lists_have_an_end(site: Site) -> None:
    async with site.engine.begin() as connection:
        for number in range(30):
            url = f"https://www.shop{number}.example/"
            await records.store(connection, message(number, f"m{number}", url, "s@s.example", f"p{number}@r.example"))
    page = await check(site, type="domain", value="example", action="block")
    assert "This reaches far:" in page
    assert "it meets URLs of 30 hosts" in page
    assert "30 links to it are held" in page
    assert len(re.findall(r"@r\.example", page)) == 20


async def test_it_speaks_japanese(site: Site) -> None:
    await filled(site)
    assert "過去 30 日間のクリック" in await check(site, "ja", type="domain", value="evil.example", action="block")

"""Finding mails: each filter finds what it should and nothing else; pages neither repeat nor skip, whatever arrives meanwhile."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from tests.toc.console.conftest import Site, message
from toc import message_search, records
from toc.errors import RequestError

MAILS = {
    1: ("請求書のご案内", "https://www.shop.example/a", "a@x.example", "reader@example.com"),
    2: ("請求の件", "https://shop.example/b", "b@x.example", "boss@example.com"),
    3: ("Invoice 100% due", "https://other.example/", "a@x.example", "boss@example.com"),
    4: ("Invoice 1000 due", "https://other.example/", "c@x.example", "reader@example.com"),
}


async def put(site: Site, number: int, *facts: str) -> None:
    async with site.engine.begin() as connection:
        made = message(number, *facts)
        ref = {name: f"{name:<8.8}".encode() for name in made.people}
        made = msgspec.structs.replace(
            made, people=ref, sender_ref=ref[facts[2]], recipients=(ref[facts[3]],),
            time=made.time - timedelta(minutes=number),
        )  # fmt: skip
        await records.store(connection, made)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, {1, 2, 3, 4}),
        ({"subject": "請求"}, {1, 2}),
        ({"subject": "請求書のご案内"}, {1}),
        ({"subject": "書"}, {1}),
        ({"subject": "求請"}, set()),
        ({"subject": "100%"}, {3}),
        ({"sender": "A@X.example"}, {1, 3}),
        ({"recipient": "boss@example.com"}, {2, 3}),
        ({"recipient": "boss@example.com", "subject": "請求"}, {2}),
        ({"host": "shop.example"}, {2}),
        ({"domain": "SHOP.example"}, {1, 2}),
        ({"message_id": "<請求の件@x>"}, {2}),
        ({"sender": "nobody@x.example"}, set()),
    ],
)
async def test_filters(site: Site, filters: dict[str, str], found: set[int]) -> None:
    for number, facts in MAILS.items():
        await put(site, number, *facts)
    async with site.engine.connect() as connection:
        rows, following = await message_search.search(connection, filters, limit=50)
    assert {int(row.ref, 16) for row in rows} == found
    assert following is None


async def test_pages_neither_repeat_nor_skip(site: Site) -> None:
    for number in range(2, 13):
        await put(site, number, "s", "https://x.example/", "a@x.example", "b@example.com")
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None and len(seen) < 20:
        async with site.engine.connect() as connection:
            rows, cursor = await message_search.search(connection, {}, limit=3, cursor=cursor)
        seen += [int(row.ref, 16) for row in rows]
        await put(site, 1, "newer", "https://x.example/", "a@x.example", "b@example.com")
    assert seen == list(range(2, 13))


async def test_what_is_not_understood_is_refused(site: Site) -> None:
    async with site.engine.connect() as connection:
        for filters, cursor in (({"colour": "red"}, ""), ({}, "nonsense"), ({}, "OTk5OTk5OTk5OTk5OTk5OTk5OTkuMDA=")):
            with pytest.raises(RequestError):
                await message_search.search(connection, filters, limit=3, cursor=cursor)

"""Lists of objects in and out through the console.

Invariants: what was exported is taken in again as the same objects; what cannot be taken is named with line and reason; an entry
that reaches far is taken only when it was asked for once more; what stands here stays; a list that is too long is refused before
it is read, and nobody but an analyst makes the service read a long form; what an import or an export did is in the audit trail.
"""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest
from selectolax.lexbor import LexborHTMLParser
from sqlalchemy import delete, select

from reputation.exchange import from_csv, from_stix
from tests.toc.console.conftest import BASE, HOSTILE, Site, post, token_of
from toc.console.rules import MAX_FORM, MAX_IMPORT
from toc.store.schema import audit, objects

LIST = """type,value,action,note
domain,evil.example,block,campaign 7
ip,not an address,block,
url,https://evil.example/a?b=secret-value,warn,"two
lines"
domain,co.uk,block,far
"""
PLACE = "/console/objects/import"


async def imported(site: Site, text: str, **more: str) -> httpx.Response:
    browser = await site.signed_in("ana")
    return await post(browser, PLACE, await token_of(browser, PLACE), text=text, **more)


async def stored(site: Site) -> dict[str, str]:
    async with site.engine.connect() as connection:
        rows = await connection.execute(select(objects.c.value, objects.c.note).order_by(objects.c.value))
        return {row.value: row.note for row in rows}


def told(answer: httpx.Response) -> dict[str, str]:
    tree = LexborHTMLParser(answer.text)
    return {row.text(): row.next.text() for row in tree.css("[role=status] dt")}


async def test_each_line_has_its_fate(site: Site) -> None:
    answer = await imported(site, LIST)
    assert answer.status_code == 200
    assert told(answer) == {
        "Added": "2", "Known before, left as they are": "0", "Refused": "1", "Reach far, not taken": "1",
    }  # fmt: skip
    assert "line 3: value &#39;not an address&#39; is neither" in answer.text
    assert "co.uk covers every domain" in answer.text
    assert "secret-value" not in answer.text
    assert await stored(site) == {
        "evil.example": "campaign 7",
        "https://evil.example/a?b=secret-value": "two\nlines",
    }


async def test_what_reaches_far_is_sent_once_more(site: Site) -> None:
    first = await imported(site, LIST)
    rest = unescape(re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", first.text, re.DOTALL).group(1))
    assert 'name="broad"' in first.text
    assert "co.uk" not in await stored(site)
    again = await imported(site, rest)
    assert told(again)["Added"] == "0", "not without the tick"
    assert told(await imported(site, rest, broad="yes"))["Added"] == "1"
    assert (await stored(site))["co.uk"] == "far"


async def test_what_stands_here_stays(site: Site) -> None:
    await imported(site, LIST)
    again = await imported(site, LIST.replace("campaign 7", "another note"))
    assert (told(again)["Added"], told(again)["Known before, left as they are"]) == ("0", "2")
    assert (await stored(site))["evil.example"] == "campaign 7"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the first line must name the columns"),
        ("evil.example\nworse.example", "the first line must name the columns"),
        ("{", "this is no STIX bundle"),
        ("\ufeff  {}", "this is no STIX bundle"),
        ('{"objects": ' + "[" * 100_000, "this is no STIX bundle"),
    ],
)
async def test_what_is_no_list_is_refused_and_stays_in_the_field(site: Site, text: str, why: str) -> None:
    answer = await imported(site, text)
    assert answer.status_code == 422
    assert why in answer.text
    assert text.strip("\ufeff ") in unescape(answer.text)
    assert await stored(site) == {}


@pytest.mark.parametrize("kind", ["csv", "stix"])
async def test_an_export_is_taken_in_again(site: Site, kind: str) -> None:
    await imported(site, LIST)
    before = await stored(site)
    browser = await site.signed_in("ana")
    answer = await browser.get(f"/console/objects/export?format={kind}")
    assert "attachment" in answer.headers["content-disposition"]
    read = from_csv if kind == "csv" else from_stix
    assert {item.value for item in read(answer.content, new_id=str, created=site.now())[0]} == before.keys()
    async with site.engine.begin() as connection:
        await connection.execute(delete(objects))
    assert told(await imported(site, answer.text))["Added"] == "2"
    assert await stored(site) == before
    assert (await browser.get("/console/objects/export?format=xls")).status_code == 400


async def test_it_is_on_record(site: Site) -> None:
    await imported(site, LIST)
    await (await site.signed_in("ana")).get("/console/objects/export")
    async with site.engine.connect() as connection:
        rows = (
            await connection.execute(select(audit).where(audit.c.verb.like("objects_%")).order_by(audit.c.id))
        ).all()
    assert [(row.actor, row.verb, row.subject, row.detail) for row in rows] == [
        ("user:ana", "objects_imported", "2 objects", "1 block, 1 warn"),
        ("user:ana", "objects_exported", "2 objects", "csv"),
    ]


async def test_a_list_that_is_too_long_is_refused(site: Site) -> None:
    answer = await imported(site, "type,value\n" + "x" * MAX_IMPORT)
    assert answer.status_code == 413
    assert f"at most {MAX_IMPORT} are taken here" in answer.text
    within = await imported(site, "type,value\n" + "あ" * (MAX_IMPORT // 3 - 10))
    assert told(within)["Refused"] == "1", "and what is not, however it is spelt in the form"


async def test_only_analysts_make_the_service_read_a_long_form(site: Site) -> None:
    """The body is asked for only after the session and its role were looked at."""

    async def body() -> object:
        yield b"csrf="
        read.append(True)
        yield b"x" * (MAX_FORM + 1)

    headers = {"Origin": BASE, "Content-Type": "application/x-www-form-urlencoded"}
    read: list[bool] = []
    for browser, status in ((site.browser(), 401), (await site.signed_in("vera"), 403)):
        answer = await browser.post(PLACE, content=body(), headers=headers)
        assert (answer.status_code, read) == (status, [])
    analyst = await site.signed_in("ana")
    assert (await analyst.post("/console/objects", content=body(), headers=headers)).status_code == 413
    assert (await analyst.post(PLACE, content=body(), headers=headers)).status_code == 403, "a wrong token"


async def test_uploads_are_not_read(site: Site) -> None:
    browser = await site.signed_in("ana")
    files = {"text": ("list.csv", LIST.encode(), "text/csv")}
    token = await token_of(browser, PLACE)
    answer = await browser.post(PLACE, data={"csrf": token}, files=files, headers={"Origin": BASE})
    assert answer.status_code == 400
    assert "only forms are taken here" in answer.text


async def test_a_list_of_strangers_stays_text(site: Site) -> None:
    rows = "".join(f'domain,com,block,"{text.replace(chr(34), chr(34) * 2)}"\n' for text in HOSTILE)
    bad = "".join(f'"{text.replace(chr(34), chr(34) * 2)}",x,block,\n' for text in HOSTILE)
    for text in ("type,value,action,note\n" + rows + bad, rows):
        page = (await imported(site, text)).text
        tree = LexborHTMLParser(page)
        assert not tree.css("main script, main img, main iframe")
        assert not [node for node in tree.css("*") if any(name.startswith("on") for name in node.attributes)]
        assert not re.search("[\x00-\x08\x0b-\x1f\u200b\u2028-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e007f]", page)

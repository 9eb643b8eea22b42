"""Clicks in the forms that other systems read.

Invariants: every click that fits is a line of every form, once; whatever a mail, a URL or a browser says, it stays one value
of one line, begins no formula, and hides nothing; JSON gives back exactly what is on record.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redirector import click_search
from redirector.clicks import Event
from redirector.export import CEF, CEF_SEVERITY, CSV_COLUMNS, FORMATS, URL_CLICK_EVENTS, csv_line, format_of
from tests.redirector.databases import empty_database
from tests.redirector.record_data import MATCH, START, click, ids, put
from toc.errors import RequestError
from toc.hiding import HIDING
from toc.policy import Action
from toc.records import MessageRecord, store
from toc.store.engine import open_async
from toc.verdict import Level

ODD = {
    "markup": "<script>alert(1)</script><img src=x onerror=y>",
    "a formula": "=cmd|'/C calc'!A0",
    "a formula behind blanks": "  \t@SUM(1+1)",
    "a formula of full width": "＝1+1",
    "a formula behind another separator": "a;=1+1,\t=1+1",
    "a line break": "one\r\nCEF:0|forged|x|1|shown|x|10|act=allow",
    "breaks that only some readers know": "one\x85two\u2028three\u2029four\x0bfive",
    "a terminal's command": "\x1b]0;owned\x07\x1b[2J",
    "bidi override": "invoice\u202egpj.exe\u2066\u200f",
    "zero width and tags": "pay\u200bpal\ufeff\U000e0041",
    "a NUL": "a\0b",
    "quotes and separators": "\"'`,;|=\\ \\| \\= \\n cs1=safe",
    "any script": "請求書　ご案内 فاتورة счёт 👩‍💻",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def odd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database of each kind with everything odd in it."""
    url = empty_database(request, tmp_path_factory.mktemp("odd"))
    asyncio.run(filled(url, *ODD.values()))
    return url


async def exported(url: str, form: str) -> tuple[str, list[str]]:
    """Head and lines, as `toc clicks export` and the call write them."""
    _, head, line = format_of(form)
    engine = open_async(url)
    async with engine.connect() as connection:
        lines = [line(found) async for found in click_search.stream(connection, {})]
    await engine.dispose()
    return head, lines


async def filled(url: str, *texts: str) -> None:
    """For each text a mail and three clicks whose foreign values all say it."""
    engine = open_async(url)
    for number, text in enumerate(texts):
        kept = text.replace("\0", "\ufffd")  # as the sink does for PostgreSQL
        ref, person, sender = (kind + number.to_bytes(7, "big") for kind in (b"m", b"r", b"s"))
        async with engine.begin() as connection:
            await store(connection, MessageRecord(
                ref=ref, time=START, message_id=f"<{kept}@example.org>", sender_ref=sender, subject=kept, direction=0, size=1,
                complete=True, worst_level=None, recipients=(person,), people={f"{kept}@example.com": person, kept: sender},
                links=(),
            ))  # fmt: skip
        shared: dict[str, Any] = {"user_agent": kept, "message_ref": ref, "recipient_ref": person}
        path = "https://login.evil.example/?q=%3Cscript%3E|=%0D%0A"
        await put(
            url,
            click(3 * number, path, **shared),
            click(3 * number + 1, path, level=Level.DANGEROUS, action=Action.BLOCK, event=Event.SHOWN,
                  reasons=("phishing", "malware"), matches=(MATCH,), **shared),
            click(3 * number + 2, path, level=Level.SUSPICIOUS, action=Action.WARN, event=Event.PROCEEDED, **shared),
        )  # fmt: skip
    await engine.dispose()


def cef_parts(line: str) -> tuple[list[str], dict[str, str]]:
    """Head and extension, by the rules of the CEF specification and not by ours."""
    pieces = re.split(r"(?<!\\)(?:\\\\)*\|", line, maxsplit=7)
    found = re.findall(r"(?:\A| )(\w+)=((?:[^=\\]|\\.)*?)(?= \w+=|\Z)", pieces[7])
    return pieces[:7], {name: re.sub(r"\\(.)", r"\1", value) for name, value in found}


def records(form: str, head: str, lines: list[str]) -> list[dict[str, Any]]:
    """What a reader makes of the lines."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(head + "".join(lines), newline="")))
    if form == "cef":
        return [cef_parts(line.rstrip("\n"))[1] for line in lines]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("form", FORMATS)
def test_foreign_text_stays_one_value_of_one_line(odd: str, form: str) -> None:
    head, lines = asyncio.run(exported(odd, form))
    assert len(lines) == 3 * len(ODD)
    assert not [line for line in lines if not line.endswith("\n") or len(line.splitlines()) != 1]
    assert not [line for line in lines if HIDING.search(line.rstrip("\r\n"))]
    found = records(form, head, lines)
    if form in ("csv", "urlclickevents"):
        assert {len(item) for item in found} == {len(CSV_COLUMNS if form == "csv" else URL_CLICK_EVENTS)}
    if form == "csv":
        values = [value for item in found for value in item.values()]
        assert not [value for value in values if value.lstrip().startswith(("=", "+", "-", "@", "＝", "\t", "\r"))]


def test_json_gives_back_what_is_on_record(odd: str) -> None:
    found = records("jsonl", *asyncio.run(exported(odd, "jsonl")))
    assert [item["id"] for item in found] == list(reversed(ids(range(3 * len(ODD)))))
    expected = [text.replace("\0", "\ufffd") for text in reversed(ODD.values()) for _ in range(3)]
    assert [item["subject"] for item in found] == expected
    assert [item["user_agent"] for item in found] == expected
    assert [item["sender"] for item in found] == expected


def test_no_value_can_forge_a_field_of_cef(database: str) -> None:
    asyncio.run(filled(database, ODD["quotes and separators"] + " act=allow cs1=safe src=1.2.3.4"))
    _, lines = asyncio.run(exported(database, "cef"))
    head, blocked = cef_parts(lines[1].rstrip("\n"))
    assert head == ["CEF:0", "Time-of-Click", "Time-of-Click", "1", "shown", "Link shown", "10"]
    assert blocked["act"] == "block"
    assert blocked["cs1"] == "dangerous"
    assert blocked["src"] == "203.0.113.7"
    assert blocked["cs4"] == ODD["quotes and separators"] + " act=allow cs1=safe src=1.2.3.4"
    assert set(blocked) == set(CEF)
    assert set(CEF_SEVERITY) == {level.code for level in Level}


@pytest.mark.parametrize(
    ("event", "action", "expected", "through"),
    [
        (Event.FORWARDED, Action.ALLOW, "ClickAllowed", True),
        (Event.SHOWN, Action.WARN, "ClickBlocked", False),
        (Event.PROCEEDED, Action.WARN, "ClickAllowed", True),
        (Event.SHOWN, Action.BLOCK, "ClickBlocked", False),
    ],
    ids=["forwarded", "warned", "proceeded", "blocked"],
)
def test_microsofts_columns(database: str, event: Event, action: Action, expected: str, through: bool) -> None:
    """Column and action names: Microsoft's reference of the table UrlClickEvents (advanced hunting)."""
    asyncio.run(put(database, click(0, event=event, action=action, matches=(MATCH,))))
    (found,) = records("urlclickevents", *asyncio.run(exported(database, "urlclickevents")))
    assert found == {
        "Timestamp": "2026-03-01T12:00:00.000Z", "Url": "https://www.shop.example/a?b=c", "ActionType": expected,
        "AccountUpn": "", "Workload": "Email", "NetworkMessageId": "", "ThreatTypes": "phishing",
        "DetectionMethods": "openphish", "IPAddress": "203.0.113.7", "IsClickedThrough": through,
        "UrlChain": ["https://www.shop.example/a?b=c"], "ReportId": ids([0])[0],
    }  # fmt: skip


def test_ecs_is_nested_and_of_the_right_types(database: str) -> None:
    """Elastic Common Schema 8: names and types of its field reference."""
    asyncio.run(filled(database, "x"))
    found = records("ecs", *asyncio.run(exported(database, "ecs")))[1]
    assert found["@timestamp"] == "2026-03-01T12:01:00.000Z"
    assert found["event"]["category"] == ["email", "web"]
    assert found["event"]["outcome"] == "failure"
    assert found["email"]["to"]["address"] == ["x@example.com"]
    assert found["source"]["ip"] == "203.0.113.7"
    assert found["url"]["registered_domain"] == "evil.example"


def test_a_form_that_is_not_known_is_refused() -> None:
    with pytest.raises(RequestError):
        format_of("xml")


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_any_values_are_one_line_of_csv_and_come_back_apart(values: list[str]) -> None:
    line = csv_line(values)
    assert len(line.splitlines()) == 1
    (found,) = csv.reader([line])
    assert len(found) == len(values)

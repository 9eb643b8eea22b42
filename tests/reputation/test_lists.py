"""A process answers from whole generations only, whatever is swapped while it looks up.

one look-up ─▶ every match of one list carries the same generation, and that generation holds the entry
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from reputation.feeds import Feed
from reputation.forms import forms
from reputation.generations import point_to, read_seed, replace, stamp
from reputation.index import Entry
from reputation.index_build import build
from reputation.lists import Lists
from toc.url import parse
from toc.verdict import Level, MatchKind, ThreatType

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SWAPS = 10_000 if os.environ.get("TOC_LONG") else 500


def load(folder: Path, name: str, generation: str, entries: list[Entry]) -> None:
    target = folder / name / f"{generation}.idx"
    build(entries, target, generation=generation, seed=read_seed(folder), built_at=NOW)
    point_to(folder / name, generation)


def feed(name: str, **more) -> Feed:
    return Feed(name, "file:///none", "domain_list", ThreatType.PHISHING, **more)


def host(value: str, expires: int | None = None) -> Entry:
    return Entry("host", value, 1, ThreatType.PHISHING, expires)


def test_a_match_carries_what_the_row_of_its_list_says(tmp_path):
    load(tmp_path, "bad", "g1", [host("evil.example")])
    load(tmp_path, "good", "g2", [host("evil.example")])
    lists = Lists.open(tmp_path, [feed("bad", level=Level.SUSPICIOUS), feed("good", kind=MatchKind.APPROVED)])
    matches, silent, required, generations = lists.look_up(forms(parse("http://a.evil.example/")))
    assert [(m.source, m.generation, m.entry, m.level, m.form, m.kind) for m in matches] == [
        ("bad", "g1", "evil.example", Level.SUSPICIOUS, "host", MatchKind.THREAT),
        ("good", "g2", "evil.example", Level.DANGEROUS, "host", MatchKind.APPROVED),
    ]
    assert (silent, required, generations) == ((), (), (("bad", "g1"), ("good", "g2")))


def test_the_other_reading_is_named(tmp_path):
    load(tmp_path, "bad", "g1", [host("evil.example")])
    lists = Lists.open(tmp_path, [feed("bad")])
    (match,) = lists.look_up(forms(parse("http://a.example/"), "http://evil.example/"))[0]
    assert match.form == "other_reading"


def test_a_list_that_never_loaded_is_silent(tmp_path):
    load(tmp_path, "one", "g1", [host("evil.example")])
    lists = Lists.open(tmp_path, [feed("one"), feed("two"), feed("three", required=True)])
    assert lists.look_up(forms(parse("http://a.example/"))) == ([], ("two", "three"), ("three",), (("one", "g1"),))


def test_an_expired_entry_is_no_match(tmp_path):
    load(tmp_path, "bad", "g1", [host("evil.example", int(NOW.timestamp()))])
    lists = Lists.open(tmp_path, [feed("bad")])
    asked = forms(parse("http://evil.example/"))
    assert lists.look_up(asked, NOW)[0] == []
    assert len(lists.look_up(asked, NOW - timedelta(seconds=1))[0]) == 1


def test_a_damaged_new_generation_leaves_the_old_one(tmp_path):
    load(tmp_path, "bad", "g1", [host("evil.example")])
    lists = Lists.open(tmp_path, [feed("bad")])
    (tmp_path / "bad" / "g2.idx").write_bytes(b"rubbish")
    point_to(tmp_path / "bad", "g2")
    lists.reload_if_changed()
    assert [match.generation for match in lists.look_up(forms(parse("http://evil.example/")))[0]] == ["g1"]
    assert "g2" in lists.errors["bad"]
    replace(tmp_path / "bad" / "current", b"../../etc/passwd")
    lists.reload_if_changed()
    assert "pointer" in lists.errors["bad"]
    load(tmp_path, "bad", "g3", [host("evil.example")])
    lists.reload_if_changed()
    assert [match.generation for match in lists.look_up(forms(parse("http://evil.example/")))[0]] == ["g3"]
    assert lists.errors == {}


def test_the_salt_is_made_once(tmp_path):
    seeds: list[bytes] = []
    threads = [threading.Thread(target=lambda: seeds.append(read_seed(tmp_path / "lists"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seeds)) == 1
    assert len(seeds[0]) == 16


def test_swaps_under_look_ups_never_mix_generations(tmp_path):
    """Generation g<n> lists n.a.example and n.b.example: a match names an entry that its generation really holds."""
    for number in range(2):
        entries = [host(f"{number}.a.example"), host(f"{number}.b.example")]
        build(
            entries,
            tmp_path / "bad" / f"g{number}.idx",
            generation=f"g{number}",
            seed=read_seed(tmp_path),
            built_at=NOW,
        )
    replace(tmp_path / "bad" / "current", b"g0")
    lists = Lists.open(tmp_path, [feed("bad")])
    asked = [forms(parse(f"http://{n}.a.example/"), f"http://{n}.b.example/") for n in (0, 1)]
    stop = threading.Event()
    mixed: list[object] = []
    looked_up = [0]

    def look_up() -> None:
        while not stop.is_set():
            for number, question in enumerate(asked):
                matches = lists.look_up(question)[0]
                looked_up[0] += 1
                if {match.generation for match in matches} - {f"g{number}"} or len(matches) not in (0, 2):
                    mixed.append(matches)

    reader = threading.Thread(target=look_up)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # else each system call of the swapping thread waits 5 ms for its turn
    reader.start()
    pointer = tmp_path / "bad" / "current"
    try:
        for number in range(SWAPS):
            aside = pointer.with_name("next")
            aside.write_bytes(b"g%d" % (number % 2))  # as `replace`, without 10,000 fsyncs
            aside.rename(pointer)
            lists.reload_if_changed()
    finally:
        stop.set()
        reader.join()
        sys.setswitchinterval(interval)
    assert mixed == []
    assert looked_up[0] > 0
    assert stamp(tmp_path / "bad") is not None


async def test_look_ups_go_on_while_a_task_reloads(tmp_path):
    load(tmp_path, "bad", "g1", [host("evil.example")])
    lists = Lists.open(tmp_path, [feed("bad")])
    load(tmp_path, "bad", "g2", [host("evil.example"), host("more.example")])
    await asyncio.to_thread(lists.reload_if_changed)
    assert len(lists.look_up(forms(parse("http://more.example/")))[0]) == 1

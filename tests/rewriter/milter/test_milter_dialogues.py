"""Dialogues of a session, as text files: the same packets in, the same events out, however the bytes are cut.

A line each: ``>`` what the mail server sends, ``<`` what we send, ``JOB`` sender, recipients and bytes of a mail,
``REPLY`` what the work answers, ``CANCELLED``, ``END``, ``ERROR`` and a word of its text. ``#`` says why.
"""

from __future__ import annotations

import codecs
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from mail_server import packet, packets

from rewriter.milter.changes import Field
from rewriter.milter.protocol import MilterError
from rewriter.milter.session import Cancelled, Disposition, End, Job, Reply, Send, Session, SessionLimits

FOLDER = Path(__file__).parents[3] / "fixtures" / "milter"
DIALOGUES = sorted(FOLDER.glob("*.txt"))
LIMITS = SessionLimits(max_message=1000, max_recipients=3)


def raw(text: str) -> bytes:
    return codecs.escape_decode(text.encode())[0]


def shown(data: bytes) -> str:
    return data.decode("latin-1").encode("unicode_escape").decode().replace("\\x00", "\\0")


def normal(line: str) -> str:
    """One byte can be written in several ways."""
    return f"< {line[2]} {shown(raw(line[4:]))}".rstrip() if line.startswith("< ") else line


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def sent_packet(line: str) -> bytes:
    """``> L Subject\\0 hello\\0`` as bytes; ``> raw …`` is not framed."""
    command, _, data = line[2:].partition(" ")
    return raw(data) if command == "raw" else packet(command, raw(data))


def reply_of(line: str) -> Reply:
    """``REPLY accept|hold|tempfail|reject [reason|new message] [add Name: value]``."""
    word, _, rest = line.removeprefix("REPLY ").partition(" ")
    dispositions = {"accept": Disposition.ACCEPT, "hold": Disposition.QUARANTINE}
    dispositions |= {"tempfail": Disposition.TEMPFAIL, "reject": Disposition.REJECT}
    if word != "accept":
        return Reply(disposition=dispositions[word], reason=rest)
    message, _, added = rest.partition(" add ")
    name, _, value = raw(added).partition(b":")
    return Reply(message=raw(message) or None, add=(Field(name, value),) if added else ())


def played(script: list[str], cut: random.Random) -> list[str]:
    """What our side said and did, as lines of a dialogue, with the mail server's lines between."""
    session = Session(LIMITS)
    heard: list[str] = []
    job: Job | None = None

    def reply(data: bytes) -> Iterator[str]:
        for command, content in packets(data):
            yield f"< {command} {shown(content)}".rstrip()

    for line in script:
        if line.startswith("> "):
            heard.append(line)
            data = sent_packet(line)
            try:
                while data:
                    size = cut.randint(1, len(data))
                    for event in session.receive(data[:size]):
                        match event:
                            case Send():
                                heard += reply(event.data)
                            case Job():
                                job = event
                                envelope = event.envelope
                                people = " ".join([envelope.sender or "<>", *envelope.recipients])
                                heard.append(f"JOB {people} | {shown(event.raw)}")
                            case Cancelled():
                                heard.append("CANCELLED")
                            case End():
                                heard.append("END")
                    data = data[size:]
            except MilterError as error:
                heard.append(f"ERROR {error}")
        elif line.startswith("REPLY "):
            heard.append(line)
            assert job is not None
            heard += reply(b"".join(session.answer(job, reply_of(line))))
    return heard


@pytest.mark.parametrize("path", DIALOGUES, ids=lambda path: path.stem)
def test_the_dialogue_goes_as_written_however_it_is_cut(path: Path) -> None:
    script = lines(path)
    for seed in range(20):
        heard = played(script, random.Random(seed))
        assert len(heard) == len(script), (heard, script)
        for said, written in zip(heard, script, strict=True):
            if written.startswith("ERROR "):
                assert said.startswith("ERROR ")
                assert written.removeprefix("ERROR ") in said
            else:
                assert said == normal(written)


def test_there_are_dialogues() -> None:
    assert len(DIALOGUES) >= 8
